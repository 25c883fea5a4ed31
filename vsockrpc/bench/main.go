// Bench compares vsockrpc with other ways to make calls over a unix socket:
// gRPC, ttrpc, net/rpc, net/http over HTTP/1.1 and unencrypted HTTP/2, and two
// floors: one call after the other with a length in front, and the same with a
// number in front, so that many calls share a connection without flow control.
//
//	go run . [-rounds 9] [-time 300ms]
//
// Server and client are two processes. Every round measures every peer once,
// one after the other, so that noise of the machine hits all alike; the table
// has medians over rounds.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func main() {
	serve := flag.String("serve", "", "be the server of this folder's sockets, until standard input ends")
	rounds := flag.Int("rounds", 9, "how often each is measured")
	each := flag.Duration("time", 300*time.Millisecond, "how long each measurement takes")
	only := flag.String("only", "", "measure only what has this in its title")
	who := flag.String("peers", "", "measure only these peers, separated by commas")
	flag.Parse()
	var err error
	if *serve != "" {
		err = serveAll(*serve)
	} else {
		err = compare(os.Stdout, *rounds, *each, *only, *who)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serveAll serves every peer, each on its socket in dir.
func serveAll(dir string) error {
	for _, p := range peers {
		l, err := net.Listen("unix", socket(dir, p.name))
		if err != nil {
			return err
		}
		go p.serve(l)
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func socket(dir, name string) string { return filepath.Join(dir, name) }

// startServer runs this program again as the server.
func startServer(dir string) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-serve", dir)
	cmd.Env = append(os.Environ(), "BENCH_SERVE="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		return nil, err
	}
	return func() {
		in.Close()
		cmd.Wait()
	}, nil
}
