package main

import (
	"errors"
	"fmt"

	"github.com/nitroseal/nitroseal/attest"
)

// simulatedPCRs reads what a software NSM shall measure: the measurements of
// the image that it runs in, which cannot lie in that image itself.
func simulatedPCRs(file string) (attest.PCRs, error) {
	data, err := readLimited(file, maxPolicyFile)
	if err != nil {
		return nil, err
	}
	policy, err := attest.ParsePolicy(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if policy.AnyMeasurement || len(policy.Measurements) != 1 {
		return nil, errors.New("-simulate-pcrs must hold the measurements of one image")
	}
	return policy.Measurements[0].PCRs, nil
}
