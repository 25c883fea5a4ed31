package main

import (
	"fmt"
	"strings"
)

// bashCompletion works with bash 3.2, which macOS has, and without the package
// bash-completion.
func bashCompletion(list []completion) string {
	b := &strings.Builder{}
	b.WriteString(`# bash completion for chatbot: source <(chatbot completion bash)
_chatbot() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="" where="" words="" kind="" word i
    COMPREPLY=()
    [ "$COMP_CWORD" -gt 0 ] && prev="${COMP_WORDS[COMP_CWORD-1]}"
    # bash takes -flag=value apart.
    if [ "$cur" = "=" ]; then
        cur=""
    elif [ "$prev" = "=" ] && [ "$COMP_CWORD" -gt 1 ]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        case "$word" in -*) break ;; esac
        case "$where" in
`)
	fmt.Fprintf(b, "        %s) where=\"${where:+$where }$word\" ;;\n", strings.Join(append([]string{"''"}, quotedAll(groups(list))...), "|"))
	b.WriteString(`        *) break ;;
        esac
    done
    case "$prev" in --*) prev="${prev#-}" ;; esac
    case "$where $prev" in
`)
	for _, c := range list {
		cases(b, c.path, c.of(fileName), "kind=file")
		cases(b, c.path, c.of(folder), "kind=folder")
		cases(b, c.path, c.of(anything), "return")
		for _, f := range c.flags {
			if f.kind == oneOfKind {
				cases(b, c.path, []string{"-" + f.name}, "kind=words words="+quoted(strings.Join(f.words, " ")))
			}
		}
	}
	b.WriteString(`    esac
    if [ -z "$kind" ]; then
        case "$cur" in --*) cur="${cur#-}" ;; esac
        case "$where" in
`)
	for _, c := range list {
		action := "words=" + quoted(names(c.words))
		if c.operands == fileName {
			action = "kind=file"
		}
		fmt.Fprintf(b, "        %s) case \"$cur\" in -*) words=%s ;; *) %s ;; esac ;;\n", quoted(c.path), quoted(c.dashed()), action)
	}
	b.WriteString(`        esac
    fi
    while IFS= read -r word; do
        COMPREPLY[${#COMPREPLY[@]}]="$word"
    done < <(
        case "$kind" in
        file) compgen -f -- "$cur" ;;
        folder) compgen -d -- "$cur" ;;
        *) compgen -W "$words" -- "$cur" ;;
        esac
    )
    case "$kind" in file|folder) compopt -o filenames 2>/dev/null ;; esac
    return 0
}
complete -F _chatbot chatbot
`)
	return b.String()
}

func quotedAll(list []string) []string {
	var all []string
	for _, s := range list {
		all = append(all, quoted(s))
	}
	return all
}

// zshCompletion serves both source <(…) and a file _chatbot in fpath.
func zshCompletion(list []completion) string {
	b := &strings.Builder{}
	b.WriteString(`#compdef chatbot
# zsh completion for chatbot: source <(chatbot completion zsh)
_chatbot() {
    local cur="${words[CURRENT]}" prev="${words[CURRENT-1]}" where="" word
    local -a choices
    integer i
    for ((i = 2; i < CURRENT; i++)); do
        word="${words[i]}"
        [[ "$word" == -* ]] && break
        case "$where" in
`)
	fmt.Fprintf(b, "        %s) where=\"${where:+$where }$word\" ;;\n", strings.Join(append([]string{"''"}, quotedAll(groups(list))...), "|"))
	b.WriteString(`        *) break ;;
        esac
    done
    [[ "$prev" == --* ]] && prev="${prev#-}"
    if [[ "$cur" == -*=* ]]; then
        prev="${cur%%=*}"
        [[ "$prev" == --* ]] && prev="${prev#-}"
        compset -P '*='
    fi
    case "$where $prev" in
`)
	for _, c := range list {
		cases(b, c.path, c.of(fileName), "_files; return")
		cases(b, c.path, c.of(folder), "_files -/; return")
		cases(b, c.path, c.of(anything), "return 1")
		for _, f := range c.flags {
			if f.kind == oneOfKind {
				cases(b, c.path, []string{"-" + f.name}, "compadd -- "+strings.Join(quotedAll(f.words), " ")+"; return")
			}
		}
	}
	b.WriteString("    esac\n    case \"$where\" in\n")
	for _, c := range list {
		fmt.Fprintf(b, "    %s)\n        if [[ \"$cur\" == -* ]]; then\n            choices=(", quoted(c.path))
		for _, f := range c.flags {
			b.WriteString("\n                " + quoted("-"+f.name+":"+colons(firstWords(f.about))))
		}
		b.WriteString(")\n            _describe flag choices\n")
		if c.operands == fileName {
			b.WriteString("        else\n            _files\n")
		} else if len(c.words) > 0 {
			b.WriteString("        else\n            choices=(")
			for _, w := range c.words {
				b.WriteString("\n                " + quoted(w.name+":"+colons(w.text)))
			}
			b.WriteString(")\n            _describe command choices\n")
		}
		b.WriteString("        fi ;;\n")
	}
	b.WriteString(`    esac
}
if [[ "$funcstack[1]" == _chatbot ]]; then
    _chatbot "$@"
else
    compdef _chatbot chatbot
fi
`)
	return b.String()
}

// colons keeps what is before the first one from being taken for the word that
// is completed.
func colons(s string) string { return strings.ReplaceAll(s, ":", `\:`) }

// fishCompletion is a file for ~/.config/fish/completions.
func fishCompletion(list []completion) string {
	b := &strings.Builder{}
	b.WriteString(`# fish completion for chatbot: chatbot completion fish | source
function __chatbot_at
    set -l where
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; and break
`)
	fmt.Fprintf(b, "        contains -- \"$where\" '' %s; or break\n", strings.Join(fishQuotedAll(groups(list)), " "))
	b.WriteString(`        set where (string trim -- "$where $word")
    end
    test "$where" = "$argv[1]"
end
complete -c chatbot -f
`)
	for _, c := range list {
		at := fmt.Sprintf("complete -c chatbot -n %s", fishQuoted("__chatbot_at "+fishQuoted(c.path)))
		for _, w := range c.words {
			fmt.Fprintf(b, "%s -f -a %s -d %s\n", at, fishQuoted(w.name), fishQuoted(w.text))
		}
		if c.operands == fileName {
			fmt.Fprintf(b, "%s -F\n", at)
		}
		for _, f := range c.flags {
			value := ""
			switch {
			case !f.value:
			case f.kind == fileName:
				value = " -r -F"
			case f.kind == folder:
				value = " -x -a '(__fish_complete_directories)'"
			case f.kind == oneOfKind:
				value = " -x -a " + fishQuoted(strings.Join(f.words, " "))
			default:
				value = " -x"
			}
			fmt.Fprintf(b, "%s -o %s%s -d %s\n", at, f.name, value, fishQuoted(firstWords(f.about)))
		}
	}
	return b.String()
}

// fishQuoted is s as a word of fish, in whose single quotes \ escapes.
func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func fishQuotedAll(list []string) []string {
	var all []string
	for _, s := range list {
		all = append(all, fishQuoted(s))
	}
	return all
}
