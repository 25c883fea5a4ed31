package native

import (
	"errors"
	"slices"
)

// Values of enum llama_load_mode.
const (
	loadAuto = -1
	loadMmap = 1
)

// extraBufts is use_extra_bufts, counted from the first bool.
const extraBufts = 2

// modelBools are vocab_only, check_tensors, use_extra_bufts, no_host, no_alloc
// and load_mtp as every known version initializes them. Padding follows.
var modelBools = []bool{false, false, true, false, false, false}

// useInPlace has the library map the file and compute with the weights where
// they are, so that they are in memory once. By default it also makes copies
// that are arranged for the processor, of the types of weights for which it has
// such kernels. The members are found by their default values, before anything
// is written where a version unknown here might have something else.
func (p *ModelParams) useInPlace() error {
	if p.NGPULayers != -1 || p.SplitMode != 1 || p.LoadMode != loadAuto || !slices.Equal(p.Bools[:len(modelBools)], modelBools) {
		return errors.New("llama: libllama's default model parameters are not the known ones: it cannot be told to keep the weights in memory once")
	}
	p.LoadMode = loadMmap
	p.Bools[extraBufts] = false
	return nil
}
