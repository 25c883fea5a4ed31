package badinput

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Outcome is what must come of a bad input. Make one with Is, As, Both, Plain,
// Own, Ignored or Panics.
type Outcome struct {
	kind  kind
	name  string // as the page has it
	match func(error) bool
}

type kind int

const (
	isError kind = iota
	isOwn
	isNothing
	isPanic
)

// Is wants an error for which errors.Is holds. name is the error's, with its
// package.
func Is(name string, target error) Outcome {
	return Outcome{name: "`" + name + "`", match: func(err error) bool { return errors.Is(err, target) }}
}

// As wants an error for which errors.As finds an E.
func As[E error]() Outcome {
	typ := reflect.TypeFor[E]()
	return Outcome{name: "`" + typ.String() + "`", match: func(err error) bool {
		_, ok := errors.AsType[E](err)
		return ok
	}}
}

// Both wants an error that is both, such as a type and what it wraps.
func Both(a, b Outcome) Outcome {
	return Outcome{name: a.name + " of " + b.name, match: func(err error) bool { return a.match(err) && b.match(err) }}
}

// Plain wants an error that has no exported type: nobody but its reader, who
// corrects a configuration or a program, has a use for it.
func Plain() Outcome {
	return Outcome{name: "an error", match: func(error) bool { return true }}
}

// Own wants an error of the caller's own, such as its reader's or its context's,
// for which errors.Is holds. Its message may be what it was.
func Own(name string, target error) Outcome {
	o := Is(name, target)
	o.kind, o.name = isOwn, name+", as it is"
	return o
}

// Ignored wants no error: what the function's documentation gives the input as
// its meaning. The case's call checks that, and returns an error where it does
// not hold.
func Ignored(meaning string) Outcome { return Outcome{kind: isNothing, name: meaning} }

// Panics wants a panic whose message contains text, as the function's
// documentation announces it. This is for errors of the program alone, as the
// standard library has it.
func Panics(text string) Outcome { return Outcome{kind: isPanic, name: text} }

// hasPrefix reports whether a message begins with the package of an error that
// is wanted: a function may return another package's as it is.
func (o Outcome) hasPrefix(text string) bool {
	pkg, _, ok := strings.Cut(text, ": ")
	return ok && strings.Contains(o.name, "`"+pkg+".")
}

// judge returns what the page says of the outcome, or what is wrong with it.
func (o Outcome) judge(err error, p *panicValue) (said, complaint string) {
	switch {
	case o.kind == isPanic:
		if p == nil || !strings.Contains(fmt.Sprint(p.value), o.name) {
			return "", fmt.Sprintf("must panic with %q, but ends with %v", o.name, ending(err, p))
		}
		return "panics, as documented: " + o.name, ""
	case p != nil:
		return "", ending(err, p)
	case o.kind == isNothing:
		if err != nil {
			return "", fmt.Sprintf("must be %s, but ends with %v", o.name, err)
		}
		return "no error: " + o.name, ""
	case err == nil:
		return "", "no error, want " + o.name
	case err == errHangs || !o.match(err):
		return "", fmt.Sprintf("ends with %v (%T), want %s", err, err, o.name)
	}
	if o.kind == isOwn {
		return o.name, ""
	}
	return o.name + ": " + err.Error(), ""
}

func ending(err error, p *panicValue) string {
	if p != nil {
		return fmt.Sprintf("a panic: %v", p.value)
	}
	return fmt.Sprint(err)
}
