# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# The format of mutants: which there are for a kernel, and what their heads say.
#
# A mutant is a patch on top of the series, NAME.patch for all kernels that its head lists, or
# NAME.KERNEL.patch for one. Its head has the lines
#
#	SPDX-License-Identifier: GPL-2.0-only
#	Bug: what is wrong, in one sentence
#	Patch: the numbers of the patches of the series whose work it undoes, or none if it breaks stock code
#	Kernels: those of kvm/series that have it
#	Test: TABLE NAME PAGING		a row of tests/TABLE.table that must fail; repeated, the best first
#	Hangs: yes			if the host may die of it, which otherwise proves nothing

# field NAME FILE: the values of a field of the head, one per line.
field() {
	sed -n "/^---/q; s/^$1: //p" "$2"
}

# mutants SERIES: the files of all mutants for a series.
mutants() {
	for file in tests/mutants/*.patch; do
		case " $(field Kernels "$file") " in
		*" $1 "*) echo "$file" ;;
		esac
	done
}

# mutant_name FILE
mutant_name() {
	basename "$1" .patch | sed 's/[.][0-9.]*$//'
}
