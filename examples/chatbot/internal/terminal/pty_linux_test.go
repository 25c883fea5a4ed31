package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
)

// childVariable makes the test binary the program that is tested: Chat on its
// standard streams, with a scripted Asker.
const childVariable = "CHATBOT_TERMINAL_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "":
		os.Exit(m.Run())
	case "leader":
		lead()
		os.Exit(0)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	f := &fake{answer: func(ctx context.Context, q ask.Question, yield func(ask.Chunk, error) bool) {
		switch last := q.Messages[len(q.Messages)-1].Content; last {
		case "hang":
			hang(nil)(ctx, q, yield)
		case "panic":
			panic("the Asker panics")
		default:
			say("<", last, ">")(ctx, q, yield)
		}
	}}
	os.Exit(ExitCode(Chat(ctx, Options{Asker: f, In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Interrupts: c})))
}

// lead runs the program as the leader of its session. When a leader ends, the
// kernel throws away what the terminal has not shown yet, so this one tells of
// the program's end in the same stream and stays until descriptor 3 is closed.
func lead() {
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // the program's business
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childVariable+"=program")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("\x1epid %d\x1e", c.Process.Pid)
	c.Wait()
	fmt.Printf("\x1eexit %d\x1e", c.ProcessState.ExitCode())
	io.Copy(io.Discard, os.NewFile(3, "until the test is done"))
}

// openPTY returns both ends of a new pseudoterminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudoterminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 200, Row: 50}); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func mode(t *testing.T, pty *os.File) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(pty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// A visit is the program on a terminal.
type visit struct {
	t      *testing.T
	master *os.File
	pid    int // the program's
	before unix.Termios
	output chan []byte // closed when the program has ended
	seen   []byte      // what no expect has matched yet
	all    bytes.Buffer
}

func start(t *testing.T, env ...string) *visit {
	t.Helper()
	master, slave := openPTY(t)
	s := &visit{t: t, master: master, before: mode(t, master), output: make(chan []byte, 1024)}
	release, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	leader := exec.Command(os.Args[0])
	leader.Env = append(os.Environ(), append([]string{"TERM=xterm", "NO_COLOR=1"}, env...)...)
	leader.Env = append(leader.Env, childVariable+"=leader")
	leader.Stdin, leader.Stdout, leader.Stderr = slave, slave, slave
	leader.ExtraFiles = []*os.File{release}
	leader.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	release.Close()
	slave.Close() // so that reading ends with the leader
	// Keeps a program that hangs from hanging the test.
	watchdog := time.AfterFunc(time.Minute, func() { leader.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		hold.Close()
		leader.Process.Kill() // the hang-up ends the program, if it still runs
		leader.Wait()
	})
	go func() {
		defer close(s.output)
		for {
			buf := make([]byte, 4096)
			n, err := master.Read(buf)
			if n > 0 {
				s.output <- buf[:n]
			}
			if err != nil {
				return // EIO: nobody has the other end any more
			}
		}
	}()
	if _, err := fmt.Sscanf(s.until("\x1epid ", "\x1e"), "%d", &s.pid); err != nil {
		t.Fatal(err)
	}
	return s
}

// until waits for text between two others and returns it.
func (s *visit) until(begin, end string) string {
	s.t.Helper()
	s.expect(begin)
	s.expect(end)
	whole := s.all.String()
	whole = whole[:len(whole)-len(s.seen)-len(end)]
	return whole[strings.LastIndex(whole, begin)+len(begin):]
}

// signal is one from elsewhere than the keyboard.
func (s *visit) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.pid, sig); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits until text is shown, after what earlier calls waited for.
func (s *visit) expect(text string) {
	s.t.Helper()
	for {
		if i := bytes.Index(s.seen, []byte(text)); i >= 0 {
			s.seen = s.seen[i+len(text):]
			return
		}
		ended := bytes.Contains(s.seen, []byte("\x1eexit ")) && !strings.HasPrefix(text, "\x1e")
		more, ok := []byte(nil), false
		if !ended {
			more, ok = <-s.output
		}
		if !ok {
			s.t.Fatalf("the program has ended without %q; it showed %q", text, s.all.String())
		}
		s.all.Write(more)
		s.seen = append(s.seen, more...)
	}
}

// enter types keys.
func (s *visit) enter(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// raw checks that the terminal is in raw mode, or is not.
func (s *visit) raw(want bool) {
	s.t.Helper()
	m := mode(s.t, s.master)
	if got := m.Lflag&unix.ICANON == 0 && m.Lflag&unix.ISIG == 0; got != want {
		s.t.Errorf("raw mode is %t, want %t; it showed %q", got, want, s.all.String())
	}
}

// ends waits for the program's end and checks how it left the terminal.
func (s *visit) ends(code int) {
	s.t.Helper()
	if got := s.until("\x1eexit ", "\x1e"); got != fmt.Sprint(code) {
		s.t.Errorf("exit code %s, want %d; it showed %q", got, code, s.all.String())
	}
	if after := mode(s.t, s.master); after != s.before {
		s.t.Errorf("the terminal's mode changed from %+v to %+v", s.before, after)
	}
	if on, off := strings.Count(s.all.String(), "\x1b[?2004h"), strings.Count(s.all.String(), "\x1b[?2004l"); on != off {
		s.t.Errorf("bracketed paste was turned on %d times and off %d times", on, off)
	}
}

func TestTerminalEditing(t *testing.T) {
	s := start(t)
	s.expect("verified: AWS Nitro enclave")
	s.expect("> ")
	s.raw(true)
	s.enter("heo\x1b[Dll\x1b[C!\r") // two to the left of the o
	s.expect("<hello!>\r\n")
	s.expect("> ")
	s.enter("\x1b[A?\r") // from the history
	s.expect("<hello!?>\r\n")
	s.expect("> ")
	s.enter("\x1b[A\x1bOA\x1b[B\x1b[H\x15one two\x17three\x1b[4~\x7f\r")
	s.expect("<one threehello!>\r\n")
	s.expect("> ")
	s.enter("a\x04") // Ctrl-D deletes to the right, and leaves only where there is nothing
	s.enter("\r")
	s.expect("<a>\r\n")
	s.expect("> ")
	s.enter("\x04")
	s.ends(0)
}

func TestTerminalPaste(t *testing.T) {
	s := start(t)
	s.expect("> ")
	s.enter(pasteStart + "line one\r\nline\x1b[31m two\n" + pasteEnd)
	s.expect("line one␤line[31m two␤") // nothing was asked yet
	s.enter("end\r")
	s.expect("<line one\r\nline[31m two\r\nend>\r\n")
	s.expect("> ")
	s.enter("\x1b[A\r")
	s.expect("<line one\r\nline[31m two\r\nend>\r\n")
	s.expect("> ")
	s.enter(pasteStart + strings.Repeat("long ", 2000) + pasteEnd + ".\r") // over x/term's own limit
	s.expect("<" + strings.Repeat("long ", 2000) + ".>")
	s.expect("> ")
	s.enter("/quit\r")
	s.ends(0)
}

func TestTerminalInterrupts(t *testing.T) {
	s := start(t)
	s.expect("> ")
	s.enter("hang\r")
	s.expect("well,")
	s.raw(false)
	s.enter("\x03") // from the terminal as a signal
	s.expect("(interrupted; this question is not part of the conversation)\r\n")
	s.expect("> ")
	s.enter("typed\x03") // discards what was typed, and is no step towards leaving
	s.expect("typed\r\n")
	s.expect("> ")
	s.enter("\x03")
	s.expect("(Ctrl-C again, Ctrl-D or /quit leaves)\r\n")
	s.expect("> ")
	s.enter("\x1b[Athere\r") // the newest of the history is not what was discarded
	s.expect("<hangthere>\r\n")
	s.expect("> ")
	s.enter("\x03")
	s.expect("(Ctrl-C again, Ctrl-D or /quit leaves)\r\n")
	s.expect("> ")
	s.enter("\x03")
	s.ends(130)
}

// What is typed while an answer comes is there at the next prompt.
func TestTerminalTypeAhead(t *testing.T) {
	s := start(t)
	s.expect("> ")
	s.enter("one\rtwo\rhang\r")
	s.expect("<one>")
	s.expect("<two>")
	s.expect("well,")
	s.enter("three\r/quit\r") // the terminal is in its own mode now
	s.expect("/quit")
	s.signal(syscall.SIGINT) // Ctrl-C would have it forgotten
	s.expect("(interrupted;")
	s.expect("<three>")
	s.ends(0)
}

func TestTerminalPanic(t *testing.T) {
	s := start(t)
	s.expect("> ")
	s.enter("panic\r")
	s.expect("the Asker panics")
	s.ends(2)
}

func TestTerminalTermination(t *testing.T) {
	s := start(t)
	s.expect("> ")
	s.enter("half a line")
	s.expect("half a line")
	s.raw(true)
	s.signal(syscall.SIGTERM)
	s.ends(130)
	if n := strings.Count(s.all.String(), "> "); n != 1 { // it knew the size of the terminal from the start
		t.Errorf("the prompt was painted %d times: %q", n, s.all.String())
	}
}

// An interrupt from elsewhere than the keyboard has the same effect.
func TestTerminalSignalAtPrompt(t *testing.T) {
	s := start(t)
	s.expect("> ")
	s.signal(syscall.SIGINT)
	s.expect("(Ctrl-C again, Ctrl-D or /quit leaves)\r\n")
	s.expect("> ")
	s.enter("still here\r")
	s.expect("<still here>")
	s.expect("> ")
	s.enter("\x04")
	s.ends(0)
}

// A terminal that cannot move its cursor is left in its own mode.
func TestTerminalDumb(t *testing.T) {
	s := start(t, "TERM=dumb")
	s.expect("> ")
	s.raw(false)
	s.enter("hi\n")
	s.expect("<hi>\r\n")
	s.expect("> ")
	s.enter("\x03")
	s.expect("(Ctrl-C again, Ctrl-D or /quit leaves)\r\n")
	s.expect("> ")
	s.enter("\x04")
	s.ends(0)
	if bytes.ContainsRune(s.all.Bytes(), escape) {
		t.Errorf("it was sent an escape sequence: %q", s.all.String())
	}
}

func TestTerminalColours(t *testing.T) {
	s := start(t, "NO_COLOR=")
	s.expect("\x1b[32mverified: ")
	s.expect("> ")
	s.enter("hi\r")
	s.expect("…\r\x1b[K<hi>") // the mark of waiting
	s.expect("> ")
	s.enter("\x04")
	s.ends(0)
}

type panickingHistory struct{}

func (panickingHistory) Add(string)    {}
func (panickingHistory) Len() int      { return 1 }
func (panickingHistory) At(int) string { panic(errTest) }

// A panic at the prompt, too, leaves the terminal as it was.
func TestEditorPanics(t *testing.T) {
	master, slave := openPTY(t)
	before := mode(t, master)
	src := newSource(slave, nil)
	e := newEditor(src, int(slave.Fd()), slave)
	e.term.History = panickingHistory{}
	defer e.close()
	if _, err := master.WriteString("\x1b[A"); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if err, ok := recover().(error); !ok || !errors.Is(err, errTest) {
				t.Errorf("recovered %v", err)
			}
		}()
		e.readLine(t.Context())
	}()
	if after := mode(t, master); after != before {
		t.Errorf("the mode is %+v, was %+v", after, before)
	}
}
