# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Bash completion for the commands and options of kvm-pfnmap.

_kvm_pfnmap() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word words

	# Bash splits --drm=NODE into three words.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	case $prev in
	--drm)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -G "${cur:-/dev/dri/}*")
		return
		;;
	--file)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--dirname)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--timeout)
		return
		;;
	esac
	words='probe status reload --help --version'
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in
		probe) words='--drm --file --all --timeout --json' ;;
		status | reload) words='--dirname --json' ;;
		*) continue ;;
		esac
		break
	done
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _kvm_pfnmap kvm-pfnmap
