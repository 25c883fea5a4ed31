// Package inference is the interface between a program and a language model.
//
// A [Model] generates text from a prompt, a [Chunk] at a time:
//
//	for chunk, err := range model.Generate(ctx, inference.Request{Prompt: p}) {
//		if err != nil {
//			return err
//		}
//		fmt.Print(chunk.Text)
//	}
//
// The zero settings are greedy decoding: the most likely token each time, the
// same answer every time. Package inference/llama implements Model on libllama;
// inference/inferencetest implements it without a model, for the tests of
// programs that use one.
//
// # What this package does not protect from
//
// A prompt is data of the caller's user, and an answer is whatever the model
// makes of it: neither is to be trusted. An implementation keeps requests
// apart, never logs their text and never puts it into an error, but it cannot
// keep a model from saying something false.
package inference
