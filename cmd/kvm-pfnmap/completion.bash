# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Completion of kvm-pfnmap's commands and options, for bash.

_kvm_pfnmap() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words

	case $prev in
	--drm)
		mapfile -t COMPREPLY < <(compgen -G "${cur:-/dev/dri/}*")
		return
		;;
	--file)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--dirname)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--timeout)
		return
		;;
	esac
	case " ${COMP_WORDS[*]} " in
	*' probe '*) words='--drm --file --all --timeout --json' ;;
	*' status '* | *' reload '*) words='--dirname --json' ;;
	*) words='probe status reload --help --version' ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _kvm_pfnmap kvm-pfnmap
