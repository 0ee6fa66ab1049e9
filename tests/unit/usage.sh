#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Tests scripts/usage.mk: make refuses mistyped targets, variables and values in one line, before it
# does anything, and takes what the documentation says.
#
# Seen to fail: the last refusals, without the include in the Makefile; with VARIANT, CORE and the
# values of V taken out of scripts/usage.mk, those about them, and the right usages; with MORE
# allowed for every target, those about it.
set -eu
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

# As a user calls it, not as a part of this make.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

# Does nothing with what usage.mk accepts: if that is broken, nothing is built or removed.
cat >"$work/usage.mk" <<'END'
include scripts/usage.mk
.PHONY: $(TARGETS)
$(TARGETS): ; @:
%: ; @:
END

# All that make prints is one line, which contains the text.
refused() {
	[ "$status" -eq 2 ] && [ "$(wc -l <"$work/out")" -eq 1 ] && grep -qF -- "$1" "$work/out"
}

# TEXT of the refusal, and the arguments.
while IFS='|' read -r text arguments; do
	eval "run make -f '$work/usage.mk' $arguments"
	ok "wrong usage: make $arguments" refused "$text"
done <<'END'
unknown target 'chekc'|chekc
unknown target 'chekc'|check-unit chekc
unknown target 'check-rgi'|check-rgi KERNEL=6.1 ONLY=revoke
unknown target 'tests'|tests
unknown target 'FORCE'|FORCE
unknown target 'README.md'|README.md
unknown variable 'ONYL': use one of|check-rig ONYL=revoke
unknown variable 'ONYL': use one of|ONYL=revoke
unknown variable 'ONYL': use one of|check-rig ONYL=
unknown variable 'only': use one of|check-rig only=revoke
unknown variable 'KERNELS': use one of|check KERNELS=6.1
unknown variable 'REL': use one of|check-rig 'REL:=6.1.0-1-amd64'
unknown variable 'X': use one of|check-rig KERNEL=6.1 X='a b'
unknown variable 'R': use one of|clean R=/
VARIANT=foo: VARIANT is one of: stock patched|check-rig VARIANT=foo
VARIANT=Stock: VARIANT is one of: stock patched|check-intel VARIANT=Stock
VARIANT=stock,patched: VARIANT is one of: stock patched|check-rig VARIANT=stock,patched
FOR=x: FOR is one of: demo check ci|deps FOR=x
CORE=2: CORE is one of: 1|check-install CORE=2
CORE=0: CORE is one of: 1|check-install CORE=0
KCSAN=0: KCSAN is one of: 1|check-debug KCSAN=0
STOCK=yes: STOCK is one of: 1|shell STOCK=yes
UPDATE=0: UPDATE is one of: 1|deps UPDATE=0
V=0: V is one of: 1|tool V=0
V=2: V is one of: 1|tool V=2
KERNEL= is empty|check-rig KERNEL=
GROUP= is empty|check-rig GROUP=
ONLY= is empty|check-rig ONLY=' '
VARIANT= is empty|check-rig VARIANT=
CORE= is empty|check-install CORE=
KERNEL=6.1 6.12: blanks are not allowed|check 'KERNEL=6.1 6.12'
ONLY=revoke move: blanks are not allowed|check-rig 'ONLY=revoke move'
GROUP=a b: blanks are not allowed|check-rig 'GROUP=a b'
KERNEL= has no effect on 'help'|KERNEL=6.1
KERNEL= has no effect on 'clean'|clean KERNEL=6.1
KERNEL= has no effect on 'check-unit lint'|check-unit lint KERNEL=6.12
KERNEL= has no effect on 'check-i386'|check-i386 KERNEL=6.12
ONLY= has no effect on 'check'|check ONLY=revoke
ONLY= has no effect on 'check-unit'|check-unit ONLY=json
GROUP= has no effect on 'check-install'|check-install GROUP=memslot
VARIANT= has no effect on 'shell'|shell VARIANT=stock
STOCK= has no effect on 'check-rig'|check-rig STOCK=1
FOR= has no effect on 'check'|check FOR=demo
CORE= has no effect on 'ci'|ci CORE=1
KCSAN= has no effect on 'check-rig'|check-rig KCSAN=1
MORE= has no effect on 'check'|check MORE=x
MORE= has no effect on 'check-rig'|check-rig MORE=
TRY= has no effect on 'torture'|torture TRY=torture
TRY= is empty|mutants TRY=
MORE=core direct: blanks are not allowed|mutants 'MORE=core direct'
END

while read -r arguments; do
	eval "run make -f '$work/usage.mk' $arguments"
	ok "right usage: make $arguments" passes_silently
done <<'END'
help
tool V=1 B=debian/build WERROR= CC=clang INSTALL='install --strip-program=true'
tool V= CFLAGS= LDFLAGS='-Wl,-z,relro -Wl,-z,now'
check-rig KERNEL=6.12 ONLY=revoke,move VARIANT=stock
check-rig GROUP=memslot VARIANT=patched
check-intel KERNEL=6.12 ONLY=counts
check-i386 ONLY=revoke
check-install KERNEL=6.1 CORE=1 ONLY=dracut,removal
check KERNEL=6.1.0-56-amd64
check-debug KERNEL=6.12 KCSAN=1
check-unit check-rig KERNEL=6.12
deps FOR=check DEPS_KERNELS='6.1 6.12' UPDATE=1
shell STOCK=1 KERNEL=6.1
mutants KERNEL=6.12 ONLY=bit_always MORE=core
mutants MORE=
mutants TRY=torture,races ONLY=tdp_no_zap
tree KERNEL=6.1
series SERIES_DIR=kvm/series/6.1 NEW_DIR=kvm/new
build/no/such/file KERNEL=6.1
END

# A check passes its variables on to parts that have no use for them.
MAKELEVEL=1 run make -f "$work/usage.mk" check-unit KERNEL=6.12
ok 'a part of a check may get a variable that is not for it' \
	test "$status" -eq 0 -a -z "$(grep -v 'make\[1\]' "$work/out")"
MAKELEVEL=1 run make -f "$work/usage.mk" check-unit ONYL=x
ok 'but none that is unknown' grep -q "unknown variable 'ONYL'" "$work/out"
ONYL=x V=1 FOR='' run make -f "$work/usage.mk" check-rig
ok 'the environment may have any variable' passes_silently

# What make help names.
# shellcheck disable=SC2013 # words
for target in $(sed -n 's/^#? make \([a-z0-9-]*\) .*/\1/p' Makefile); do
	run make -f "$work/usage.mk" "$target"
	ok "make help names make $target, which is known" passes_silently
done

# The Makefile includes it.
run make help chekc
ok 'make refuses an unknown target' refused "unknown target 'chekc'"
run make help ONYL=x
ok 'and an unknown variable' refused "unknown variable 'ONYL'"
run make check-build KERNEL=9.9 -n
ok 'and a kernel that is not listed' grep -q "unknown kernel '9.9': KERNEL is one of 6.1, " "$work/out"
ok 'which stops it' test "$status" -eq 2

plan "$number"
