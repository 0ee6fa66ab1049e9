#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Make a git tree in which to work on the series, and save the tree's commits as the series.
#
#   tree.sh make TREE SOURCE SERIES NEW    TREE gets the stock source of the
#       tarball SOURCE (tag stock), then a commit with the files of NEW and one
#       commit for each patch of SERIES on the branch series
#   tree.sh save TREE SERIES NEW           the commits become SERIES and NEW
#
# refs/saved is the commit that SERIES describes. Anything beyond it is unsaved work,
# which is never overwritten.
set -eu
here=$(dirname "$0")
# shellcheck source=kvm/lib.sh
. "$here/lib.sh"

new_title='Files of kvm/new'

# git in the tree, without the user's settings, which must not change a patch.
git_tree() {
	LC_ALL=C GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
	GIT_COMMITTER_NAME=kvm-pfnmap GIT_COMMITTER_EMAIL=kvm-pfnmap@localhost \
	git -C "$tree" "$@"
}

commit_as_project() {
	GIT_AUTHOR_NAME=kvm-pfnmap GIT_AUTHOR_EMAIL=kvm-pfnmap@localhost \
	git_tree -c gc.auto=0 commit -q --allow-empty -m "$1"
}

in_progress() {
	[ -d "$tree/.git/rebase-apply" ] || [ -d "$tree/.git/rebase-merge" ]
}

refuse_unsaved() {
	if in_progress; then
		why='a rebase or git am is in progress'
	elif [ -n "$(git_tree status --porcelain | head -n 1)" ]; then
		why='it has uncommitted changes'
	elif [ -n "$(git_tree rev-list -n 1 HEAD --branches --not refs/saved)" ]; then
		why='it has commits that are not in the series'
	else
		return 0
	fi
	die "$tree is left alone, because $why: finish that and run 'make series', or remove the tree"
}

# Record that the series describes the HEAD of the tree.
saved() {
	git_tree update-ref refs/saved HEAD
	"$here/series-id.sh" "$series" "$new" >"$tree/.git/saved-series"
}

unpack() {
	step UNPACK "$source into $1 (about a minute)"
	final=$tree
	tree=$final.tmp
	trap 'rm -rf "$tree"' EXIT
	trap 'exit 130' INT TERM HUP
	rm -rf "$tree" "$final"
	mkdir -p "$tree"
	tar -C "$tree" --strip-components=1 -xf "$source" 2>"$tree.log" ||
		die "cannot unpack $source: $(reason "$tree.log")"
	{
		git_tree init -q -b series
		git_tree config core.looseCompression 1
		# As in the kernel's own .gitattributes; it decides how hunks are headed.
		printf '*.%s diff=cpp\n' c h >"$tree/.git/info/attributes"
		git_tree add -f . &&
		commit_as_project "$stock_title" &&
		git_tree tag stock
	} >"$tree.log" 2>&1 || die "cannot commit the stock source: $(reason "$tree.log")"
	rm "$tree.log"
	mv "$tree" "$final"
	trap - EXIT INT TERM HUP
	tree=$final
}

# Apply one patch of the series. Fuzz is accepted, and reported.
apply() {
	git_tree am -q "$1" >"$log" 2>&1 && return
	if in_progress && patch -d "$tree" -p1 --dry-run --force <"$1" >"$log" 2>&1; then
		patch -d "$tree" -p1 --force --no-backup-if-mismatch <"$1" |
			sed -n "s/^Hunk.*fuzz/${1##*/}: &/p" >&2
		git_tree add -A
		git_tree am -q --continue >"$log" 2>&1 && return
	fi
	why=$(grep -m1 -E 'patch failed|FAILED|does not exist|corrupt' "$log" || reason "$log")
	rm -f "$tree/.git/making"
	saved
	die "${1##*/} does not apply ($why): resolve it in $tree, run 'git am --continue'," \
	    "apply the patches after it, and run 'make series'"
}

make_tree() {
	source=$1
	series=$(realpath "$2")
	new=$3
	stock_title=$(basename "$(realpath -s "$source")" .tar.xz)
	if [ -e "$tree/.git/making" ]; then
		step TREE "resuming an interrupted 'make tree'"
		git_tree am --abort >/dev/null 2>&1 || :
		rm -rf "$tree/.git/rebase-apply" "$tree/.git/index.lock"
	elif [ -e "$tree" ]; then
		refuse_unsaved
	fi
	[ "$(git_tree log -1 --format=%s stock 2>/dev/null)" = "$stock_title" ] ||
		unpack "$tree"

	touch "$tree/.git/making"
	log=$tree/.git/making.log
	git_tree checkout -q -f -B series stock
	if [ -d "$new" ]; then
		cp -R "$new/." "$tree"
		# The .gitignore of Debian's source ignores unknown files.
		(cd "$new" && find . -type f) | git_tree add -f --pathspec-from-file=-
	fi
	commit_as_project "$new_title"
	count=0
	for p in "$series"/*.patch; do
		[ -e "$p" ] || continue
		apply "$p"
		count=$((count + 1))
	done
	saved
	rm -f "$tree/.git/making" "$log"
	step TREE "$tree: $count patches on $stock_title"
}

save_tree() {
	series=$1
	new=$2
	[ -d "$tree/.git" ] || die "there is no $tree: run 'make tree' first"
	! in_progress || die "a rebase or git am is in progress in $tree: finish it first"
	! [ -e "$tree/.git/making" ] || die "'make tree' was interrupted: run it again first"
	[ -z "$(git_tree status --porcelain | head -n 1)" ] ||
		die "$tree has uncommitted changes: commit them first"
	"$here/series-id.sh" "$series" "$new" | cmp -s - "$tree/.git/saved-series" ||
		die "$series or $new changed since $tree was made: it would be overwritten;" \
		    "move the tree away, run 'make tree', and carry its commits over"
	[ -z "$(git_tree rev-list -n 1 --merges stock..HEAD)" ] ||
		die "$tree has a merge on top of stock, but a series is linear: rebase it"
	base=$(git_tree rev-list --reverse stock..HEAD | head -n 1)
	[ "$(git_tree log -1 --format=%s "${base:-HEAD}")" = "$new_title" ] ||
		die "the first commit after stock in $tree must be '$new_title'"
	# The files that this commit adds are kvm/new. It must not touch stock files, and
	# the patches must not touch the files that it adds.
	changed=$(git_tree diff --name-only --no-renames --diff-filter=a stock "$base" | head -n 1)
	[ -z "$changed" ] || die "'$new_title' changes the stock file $changed: make that a patch"
	files=$(git_tree diff --name-only --no-renames stock "$base")
	for f in $files; do
		c=$(git_tree log -1 --format=%s "$base"..HEAD -- "$f")
		[ -z "$c" ] || die "'$c' changes $f: make that part of '$new_title'"
	done

	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp" "$series.tmp" "$new.tmp"' EXIT
	trap 'exit 130' INT TERM HUP
	git_tree format-patch -q -N --zero-commit --no-signature --full-index \
		--no-renames -o "$tmp" "$base"..HEAD
	rm -rf "$series.tmp" "$new.tmp"
	mkdir -p "$series" "$series.tmp" "$new" "$new.tmp"
	for f in "$series"/*; do
		case $f in
		*.patch) ;;
		*)	[ ! -e "$f" ] || cp -Rp "$f" "$series.tmp" ;;
		esac
	done
	count=0
	for p in "$tmp"/*.patch; do
		[ -e "$p" ] || continue
		cp "$p" "$series.tmp"
		count=$((count + 1))
	done
	for f in $files; do
		mkdir -p "$(dirname "$new.tmp/$f")"
		git_tree show "$base:$f" >"$new.tmp/$f"
	done
	rm -rf "$series" "$new"
	mv "$series.tmp" "$series"
	mv "$new.tmp" "$new"
	saved
	step SERIES "$count patches in $series"
}

command=$1
tree=$2
shift 2
case $command in
make)	make_tree "$@" ;;
save)	save_tree "$@" ;;
*)	die "unknown command '$command'" ;;
esac
