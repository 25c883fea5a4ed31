// Package fetch downloads a model file whose digest is known beforehand.
//
//	err := fetch.File(ctx, fetch.Options{
//		URL:    "https://models.example/bloom-560m-q8_0.gguf",
//		Path:   "bloom-560m-q8_0.gguf",
//		SHA256: "6a1c…",
//	})
//	switch {
//	case errors.Is(err, fetch.ErrDigest):
//		// It is another file than the one that was meant.
//	case errors.Is(err, context.Canceled):
//		// The same call goes on where this one stopped.
//	}
//
// # Resuming
//
// Bytes go to Path with ".part" at its end, which only the user may read, and
// only a whole file of the right digest is renamed to Path: whoever finds
// Path finds all of it. A download that was cut off, by the network or by the
// end of the process, is resumed where it stopped, if the server names the
// file's version with a strong ETag or a Last-Modified: the request says
// If-Range, so a server that has another version by now sends all of it. The
// version is in a small file beside, ".part.json". Without one, or where the
// server does not know ranges, the download starts over. It does so, too,
// where an answer contradicts what was asked or an earlier answer.
//
// Connections that are cut, that bring no byte for Options.StallTimeout, and
// the statuses 429 and 5xx are tried again, after a time that grows and is
// partly random, or that Retry-After tells. Any other status is final, and so
// is a certificate that does not fit.
//
// Two calls for one Path, in one process or in several, do not disturb each
// other: the later one gets ErrBusy. That takes a system with flock, which
// Linux, macOS and the BSDs are.
//
// # What this package protects from
//
// The digest decides, not the server: a wrong file never appears under Path,
// whoever served it. Plain HTTP is refused unless allowed, since it tells the
// network what is fetched, and a redirect never leads from https to http. A
// server cannot fill the disk beyond Options.MaxBytes. URLs are often signed:
// their query and user name are in no error, log or file of this package, and
// are not sent to other hosts as Referer.
//
// # What it does not protect from
//
// A digest says which file it is, not that its author is to be trusted; take
// it from somewhere else than the file. Who may write to the folder can
// exchange the file after the check; programs that load it should check it
// while they do (see llama.Options.Digest). Errors of the network can name
// hosts.
package fetch
