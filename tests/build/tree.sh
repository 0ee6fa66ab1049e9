#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that series to tree to series is the same bytes, that work in the tree
# reaches the series, and that unsaved work is never overwritten.
set -eu
# shellcheck source=tests/build/lib.sh
. tests/build/lib.sh
plan 18

export GIT_AUTHOR_NAME='A. Tester' GIT_AUTHOR_EMAIL=tester@localhost
export GIT_COMMITTER_NAME='A. Tester' GIT_COMMITTER_EMAIL=tester@localhost

tree=$work/tree
make_tree() {
	run "$top/kvm/tree.sh" make "$tree" "$work/linux-source-0.tar.xz" "$work/series" "$work/new"
}
save_tree() {
	run "$top/kvm/tree.sh" save "$tree" "$work/series" "$work/new"
}
state() {
	find "$work/series" "$work/new" -type f -exec sha256sum {} + | sort -k 2
}
unchanged() {
	[ "$before" = "$(state)" ]
}

# The project's own series on KVM's own files, in a tarball of a small tree.
cd "$top"
mkdir "$work/linux-source-0"
cp -R "build/$rel/stock/." "$work/linux-source-0"
rm "$work/linux-source-0/arch/x86/kvm/Kbuild"
# As in Debian's source.
echo '/*' >"$work/linux-source-0/.gitignore"
tar -cJf "$work/linux-source-0.tar.xz" -C "$work" linux-source-0
cp -R "kvm/series/$series" "$work/series"
[ ! -d kvm/new ] || cp -R kvm/new "$work/new"
mkdir -p "$work/new/virt/kvm"
echo '/* new */' >"$work/new/virt/kvm/test_new.c"
echo 'not a patch' >"$work/series/README"
patches=$(find "$work/series" -name '*.patch' | wc -l)

before=$(state)
save_tree
ok 'without a tree, saving is one line with the remedy' fails_with "no .*tree: run 'make tree'"
make_tree
ok 'the series becomes commits' test "$status" -eq 0 -a \
	"$(git -C "$tree" rev-list --count stock..)" -eq $((patches + 1))
ok 'the tree has the new files' test -e "$tree/virt/kvm/test_new.c"
save_tree
ok 'series to tree to series is the same bytes' unchanged

# The user's settings and an older git name files and hunks differently.
cat >"$work/gitconfig" <<'EOF'
[diff]
	context = 9
	noprefix = true
	algorithm = patience
[format]
	signature = mine
	numbered = true
[core]
	abbrev = 9
EOF
GIT_CONFIG_GLOBAL=$work/gitconfig
export GIT_CONFIG_GLOBAL
make_tree
save_tree
ok 'whatever the settings of the user' test "$status" -eq 0 -a "$before" = "$(state)"
unset GIT_CONFIG_GLOBAL

# An uncommitted change, then the same change committed.
cd "$tree"
echo '/* changed */' >>virt/kvm/kvm_main.c
make_tree
ok 'an uncommitted change is left alone' fails_with 'it has uncommitted changes'
save_tree
ok 'nor is it lost silently by saving' fails_with 'uncommitted changes: commit them first'
git commit -q -a -m 'KVM: Change something' -m 'Because of the test.'
make_tree
ok 'so is a commit that is not in the series' fails_with 'commits that are not in the series'
save_tree
ok 'saving adds it to the series' test "$status" -eq 0 -a \
	"$(find "$work/series" -name "*-KVM-Change-something.patch" | wc -l)" -eq 1
ok 'and keeps what is not a patch' test -e "$work/series/README"
make_tree
ok 'then the tree may be made again' test "$status" -eq 0 -a \
	"$(git -C "$tree" rev-list --count stock..)" -eq $((patches + 2))

# A commit on a branch of the user's own.
git checkout -q -b idea
git commit -q --allow-empty -m idea
git checkout -q series
make_tree
ok 'a commit on another branch is left alone' fails_with 'commits that are not in the series'
git branch -q -D idea

before=$(state)
git reset -q --hard "$(git rev-list --reverse stock.. | head -n 1)"
echo '/* newer */' >>virt/kvm/test_new.c
git commit -q -a --amend --no-edit
save_tree
ok 'a changed new file goes back to kvm/new' grep -q newer "$work/new/virt/kvm/test_new.c"
ok 'dropped commits drop their patches' \
	test "$(find "$work/series" -name '*.patch' | wc -l)" -eq 0

echo '/* too new */' >>virt/kvm/test_new.c
git commit -q -a -m 'KVM: Change a new file'
before=$(state)
save_tree
ok 'a patch of a new file is refused' fails_with "'KVM: Change a new file' changes virt/kvm/test_new.c"
git reset -q --hard HEAD^
echo other >"$work/series/0001-other.patch"
save_tree
ok 'a series that changed meanwhile is not overwritten' \
	fails_with 'changed since .* was made: it would be overwritten'

# make tree is killed before its last patch; a patch of the next one is broken.
touch .git/making
cd "$top"
make_tree
ok 'a patch that does not apply is named' test "$status" -ne 0 -a \
	"$(tail -n 1 "$work/out" | grep -c '0001-other.patch does not apply')" -eq 1
rm "$work/series/0001-other.patch"
touch "$tree/.git/making"
make_tree
ok 'an interrupted run is taken up by the next' test "$status" -eq 0 -a ! -e "$tree/.git/making"
