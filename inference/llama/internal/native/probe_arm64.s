//go:build linux || darwin

#include "textflag.h"

GLOBL ·resultInX8(SB), NOPTR|RODATA, $8
DATA ·resultInX8(SB)/8, $nitroseal_result_in_x8(SB)

// void nitroseal_result_in_x8(void *result, void (*fn)(void))
//
// Called by C's rules: jumps to fn with result in x8, and fn returns to the
// caller. x16 is the register that branch target identification allows for
// such jumps.
TEXT nitroseal_result_in_x8(SB), NOSPLIT|NOFRAME, $0
	MOVD R0, R8
	MOVD R1, R16
	JMP  (R16)
