package report

import (
	"context"
	"fmt"

	"github.com/hf/nsm"
	"github.com/hf/nsm/request"

	"github.com/nitroseal/nitroseal/attest"
)

// Make calls the module, through the packages that enclaves use.
func Make(ctx context.Context, opts nsm.Options, nonce []byte) Report {
	r := Report{Errors: map[string]string{}}
	device, err := attest.OpenNSM(attest.NSMOptions{Device: opts})
	if err != nil {
		r.Device = err.Error()
		return r
	}
	defer device.Close()
	failed := func(call string, err error) {
		if err != nil {
			r.Failed = append(r.Failed, fmt.Sprintf("%s: %v", call, err))
		}
	}
	refused := func(call string, err error) {
		if err == nil {
			r.Failed = append(r.Failed, call+": it worked, and should not")
			return
		}
		r.Errors[call] = err.Error()
	}
	for i := range 32 {
		state, err := device.DescribePCR(ctx, i)
		failed(fmt.Sprintf("describe PCR%d", i), err)
		r.PCRs, r.Locked = append(r.PCRs, state.Value), append(r.Locked, state.Locked)
	}
	for range 2 {
		random := make([]byte, 256)
		_, err := device.Read(random)
		failed("random", err)
		r.Random = append(r.Random, random)
	}
	r.Document, err = device.Attest(ctx, attest.Request{Nonce: nonce, UserData: []byte("user data"), PublicKey: []byte("public key")})
	failed("attest", err)
	_, err = device.ExtendPCR(ctx, 0, []byte("nitrotest"))
	refused("extend PCR0", err)
	r.Extended, err = device.ExtendPCR(ctx, 16, []byte("nitrotest"))
	failed("extend PCR16", err)
	failed("lock PCR16", device.LockPCR(ctx, 16))
	_, err = device.ExtendPCR(ctx, 16, []byte("nitrotest"))
	refused("extend locked PCR16", err)
	failed("lock all", device.LockPCRs(ctx, 32))
	_, err = device.ExtendPCR(ctx, 31, []byte("nitrotest"))
	refused("extend locked PCR31", err)
	refused("describe PCR32", describe32(opts))
	return r
}

// describe32 asks the device for a register that does not exist, which package
// attest does not let pass.
func describe32(opts nsm.Options) error {
	s, err := nsm.OpenSession(opts)
	if err != nil {
		return nil // it could be opened before
	}
	defer s.Close()
	answer, err := s.Send(&request.DescribePCR{Index: 32})
	if err == nil && answer.Error != "" {
		err = attest.Code(answer.Error)
	}
	return err
}
