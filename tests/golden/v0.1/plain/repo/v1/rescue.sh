#!/bin/sh
# Restores a snapshot of a `tarext/1` repository (FORMAT.md) with sh, coreutils, GNU tar, zstd and, where it is encrypted, age.
# usage: rescue.sh REPO list
#        rescue.sh REPO [VOLUME@]latest|SNAPSHOT TARGET [IDENTITY]
# REPO      a directory that contains v1/, an mc path (alias/bucket/prefix) or an http(s) URL; a URL cannot be listed, so it
#           needs a full SNAPSHOT; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION sign its requests
# SNAPSHOT  VOLUME/SESSION, a SESSION, or the beginning of one
# TARGET    a directory that is empty or does not exist; - or --tar writes the tar stream to standard output
# IDENTITY  age identity file, for an encrypted repository
# Exit status: 0 all is restored; 3 all but what is listed as "not restored"; 1 stopped, and TARGET is not whole.
#
# Checked: the recipe against the commit, the checksum of every frame (zstd), the seal of every age file. Not checked: the
# commit's Ed25519 signature, which stock tools cannot verify. Who can write to the store can forge what this restores.
set -u
umask 077
export LC_ALL=C # tar's messages are read below

say() { printf 'rescue.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
usage() { head -n 10 "$0" | tail -n +3 | cut -c3- >&2; exit 1; }

# Looked up in PATH by hand: a busybox shell prefers its own tar, which knows neither sparse files nor attributes.
program() (
  IFS=:; for d in $PATH; do [ ! -f "$d/$1" ] || [ ! -x "$d/$1" ] || { printf '%s' "$d/$1"; exit 0; }; done; exit 1
)
need() { program "$1" || die "needs the program $1"; }

get() { # KEY: the object v1/KEY to standard output
  case $how in dir) cat "$R/v1/$1" ;; mc) "$MC" cat "$R/v1/$1" ;; url) "$CURL" -K "$T/curl" "$R/v1/$1" ;; esac
}

fetch() { # KEY FILE: the object, decrypted if it is an age file. Each object is asked: a repository can hold both kinds
  get "$1" >"$T/raw" || die "v1/$1: cannot be read"
  if [ "$(head -c 22 "$T/raw" | tr -d '\0')" = age-encryption.org/v1 ]; then
    [ -n "$ID" ] || die "v1/$1 is encrypted: give the age identity file as the last argument"
    AGE=$(need age) || exit 1
    "$AGE" -d -i "$ID" <"$T/raw" >"$2" || die "v1/$1: age cannot decrypt it with $ID"
  else
    mv "$T/raw" "$2" || die "v1/$1: cannot be kept in $T"
  fi
}

commits() { # all commits to $T/commits, VOLUME/SESSION a line, oldest session first; the void ones to $voids
  case $how in
    dir) for f in "$R"/v1/snap/*/*; do printf '%s\n' "$f"; done >"$T/found" ;;
    mc) "$MC" find "$R/v1/snap" >"$T/found" || die "v1/snap: cannot be listed" ;;
    url) die "a URL cannot be listed: give the full snapshot, VOLUME/SESSION" ;;
  esac
  voids=' '
  while IFS= read -r f; do
    f=${f#"$R"/v1/snap/}
    case $f in *.json) printf '%s\n' "${f%.json}" ;; *.void) voids="$voids${f%.void} " ;; esac
  done <"$T/found" >"$T/unsorted"
  sort -t/ -k2,2 "$T/unsorted" >"$T/commits" || die "cannot sort the list of snapshots"
}
void() { case $voids in *" $1 "*) true ;; *) false ;; esac; }
commit() { # VOLUME/SESSION: its JSON to $json
  json=$(get "snap/$1.json") || die "v1/snap/$1.json: cannot be read"
  case $json in '{"format":"tarext/1",'*) ;; *) die "v1/snap/$1.json: is not a commit of the format tarext/1" ;; esac
}
text() { # NAME: a member of $json whose value is a string. No such name occurs within a string, where quotes are escaped
  case $json in *"\"$1\":\""*) value=${json#*"\"$1\":\""}; printf '%s' "${value%%\"*}" ;; esac
}

# A volume's name as keys spell it (FORMAT.md §2). What is well spelt already stays, so that what `list` prints can be given
# back; a plain name that itself looks spelt (`a~2Fb`) must be given spelt (`a~7E2Fb`).
spelt() {
  case $1 in
    .* | *[!A-Za-z0-9._~-]*) ;;
    *) rest=$1
      while :; do case $rest in *~*) rest=${rest#*~} ;; *) printf '%s' "$1"; return ;; esac
        case $rest in [0-9A-F][0-9A-F]*) ;; *) break ;; esac; done ;;
  esac
  at=0; for h in $(printf '%s' "$1" | od -An -v -tx1 | tr abcdef ABCDEF); do
    case $at$h in
      02E) printf '~2E' ;;
      ?3[0-9] | ?4[1-9A-F] | ?5[0-9A] | ?6[1-9A-F] | ?7[0-9A] | ?2[DE] | ?5F) printf '%b' "\\0$(printf '%03o' "0x$h")" ;;
      *) printf '~%s' "$h" ;;
    esac; at=1
  done
}

choose() { # what the user wrote: prints VOLUME/SESSION
  volume='' session=$1 found='' count=0 volumes=' '
  case $1 in
    *@latest) volume=$(spelt "${1%@latest}") session=latest ;;
    */*) volume=$(spelt "${1%/*}") session=${1##*/} ;;
  esac
  case $session in '' | *[!0-9A-Za-z]*) die "$1: is no name of a snapshot" ;; esac
  if [ "$how" = url ] && [ -n "$volume" ] && [ ${#session} -eq 26 ]; then
    case $("$CURL" -K "$T/curl" --no-fail -o "$T/raw" -w '%{http_code}' "$R/v1/snap/$volume/$session.void") in
      200) die "$volume/$session is void: it does not count (FORMAT.md §11)" ;; 404) ;;
      *) say "the store does not say whether $volume/$session is void" ;;
    esac
    printf '%s' "$volume/$session"; return
  fi
  commits
  while IFS= read -r f; do
    if [ -n "$volume" ] && [ "${f%/*}" != "$volume" ]; then continue; fi
    case $volumes in *" ${f%/*} "*) ;; *) volumes="$volumes${f%/*} " ;; esac
    if [ "$session" = latest ]; then found="$f $found" # newest first
    else case ${f##*/} in "$session"*) found=$f count=$((count + 1)) ;; esac; fi; done <"$T/commits"
  if [ "$session" = latest ]; then
    case $volumes in ' '*' '*' ') die "there are several volumes, say VOLUME@latest with one of:$volumes" ;; esac
    for f in $found; do
      if void "$f"; then continue; fi; commit "$f"
      if [ "$(text kind)" = complete ]; then printf '%s' "$f"; return; fi
    done
    die "$1: there is no complete snapshot; \`list\` shows what there is"; fi
  case $count in 1) ;; 0) die "$1: there is no such snapshot; \`list\` shows what there is" ;; *) die "$1: $count snapshots begin like this" ;; esac
  if void "$found"; then die "$found is void: it does not count (FORMAT.md §11)"; fi
  printf '%s' "$found"
}

piece() { dd if="$1" bs=262144 iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none; } # FILE SKIP TAKE
decode() { # PACK OFFSET STORED: that range of the plain pack, decoded. A pipe hides the status of its left side: hence the file
  { piece "$T/pack" "$2" "$3" || : >"$T/bad"; } | "$ZSTD" -dcq || die "v1/p/$1.pk: zstd cannot decode $3 bytes at $2"
  [ ! -e "$T/bad" ] || die "v1/p/$1.pk: cannot cut $3 bytes at $2 out of its copy"
}
number() { case $1 in 0) ;; '' | 0* | *[!0-9]*) die "the recipe has a line that cannot be understood: $line" ;; esac; }

# One pack and one frame are kept: lines that stay in a pack, or in a frame, fetch or decode it once. The blocks that end an
# archive come only when all went well, so that a stream that broke off never looks whole.
stream() {
  pack='' frame=''
  while IFS=' ' read -r name offset stored skip take more <&3 || [ -n "$name" ]; do
    line="$name $offset $stored $skip $take $more"
    case $name:$more in *[!0-9A-Z/:]* | */*/* | /* | *:?* | */:) number '' ;; esac
    number "$offset"; number "$stored"
    if [ "$name" != "$pack" ]; then fetch "p/$name.pk" "$T/pack"; pack=$name frame='' length=$(wc -c <"$T/pack"); fi
    [ $((offset + stored)) -le $((length)) ] || die "v1/p/$name.pk: is too short, it ends before $stored bytes at $offset"
    if [ "$skip $take" = '- -' ]; then decode "$name" "$offset" "$stored"; continue; fi
    number "$skip"; number "$take"
    if [ "$frame" != "$offset $stored" ]; then
      decode "$name" "$offset" "$stored" >"$T/frame"; frame="$offset $stored" plain=$(wc -c <"$T/frame")
    fi
    [ $((skip + take)) -le $((plain)) ] || die "v1/p/$name.pk: the frame at $offset has fewer than $skip + $take bytes"
    piece "$T/frame" "$skip" "$take" || die "v1/p/$name.pk: cannot pass on a part of the frame at $offset"
  done 3<"$T/recipe"
  head -c 1024 /dev/zero || die "cannot write the end of the tar stream"
  : >"$T/whole"
}

[ $# -ge 2 ] || usage
R=${1%/} wanted=$2 target=${3-} ID=${4-}
[ "$wanted" = list ] || [ -n "$target" ] || usage
T=$(mktemp -d) || die "cannot make a temporary directory"
trap 'rm -rf "$T"' EXIT
trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
case $R in
  http://* | https://*) how=url CURL=$(need curl) || exit 1
    { printf 'fail\nsilent\nshow-error\n' # a file, because everybody can read a command line
      [ -z "${AWS_ACCESS_KEY_ID-}" ] || printf 'aws-sigv4 = aws:amz:%s:s3\nuser = %s:%s\n' \
        "${AWS_REGION:-us-east-1}" "$AWS_ACCESS_KEY_ID" "${AWS_SECRET_ACCESS_KEY-}"; } >"$T/curl" ;;
  *) if [ -d "$R/v1" ]; then how=dir; elif [ ! -d "$R" ] && MC=$(program mc); then how=mc
    else die "$R: is no directory with v1/ in it, and there is no mc to ask a store"; fi ;;
esac
if [ "$wanted" = list ]; then
  commits
  while IFS= read -r f; do
    commit "$f"
    printf '%s  %s  %s%s\n' "$f" "$(text started)" "$(text kind)" "$(if void "$f"; then printf ' void'; fi)"; done <"$T/commits"
  exit 0; fi

if [ -n "$ID" ] && [ ! -r "$ID" ]; then die "$ID: the identity file cannot be read"; fi
ZSTD=$(need zstd) || exit 1
snapshot=$(choose "$wanted") || exit 1
commit "$snapshot"
say "snapshot $snapshot, $(text kind), started $(text started)"
fetch "snap/$snapshot.recipe" "$T/pack"
{ "$ZSTD" -dcq <"$T/pack" >"$T/recipe" && [ -s "$T/recipe" ]; } || die "v1/snap/$snapshot.recipe: zstd cannot decode it"
sum=$(get "snap/$snapshot.recipe" | sha256sum) || die "needs sha256sum"
case $json in *'"recipe":{"bytes":'*',"sha256":"'"${sum%% *}"'"'*) ;; *) die "v1/snap/$snapshot.recipe: is not the one of the commit" ;; esac

status=0 lost=0 other=0
: >"$T/err"
if [ "$target" = - ] || [ "$target" = --tar ]; then ( stream ); else
  TAR=$(need tar) || exit 1
  mkdir -p -- "$target" || die "$target: cannot be made"
  entries=$(ls -A -- "$target") || die "$target: cannot be read"; [ -z "$entries" ] || die "$target: is not empty"
  set --
  for flag in --numeric-owner --xattrs '--xattrs-include=*' --acls --delay-directory-restore --warning=no-timestamp; do
    if "$TAR" "$flag" --version >"$T/err" 2>&1; then set -- "$@" "$flag"; else say "$TAR lacks $flag: goes on without"; fi
  done
  ( stream ) | "$TAR" -xpf - -C "$target" "$@" 2>"$T/err" || status=$?
fi
while IFS= read -r line; do # a name beyond PATH_MAX, or an attribute that the file system refuses, costs itself only
  case $line in
    *': File name too long') line=${line#*: }; say "not restored: ${line%%: Cannot *} (its name is too long for tar)"; lost=1 ;;
    *': Cannot set '*' extended attribute for file '* | *': Cannot set POSIX ACLs for file '*) say "not restored: ${line#*: }"; lost=1 ;;
    *': Exiting with failure status due to previous errors') ;;
    *) say "$line"; other=1 ;;
  esac
done <"$T/err"
[ -e "$T/whole" ] || die "stopped: the tar stream of $snapshot is not whole"
[ "$status" -eq 0 ] || [ "$lost$other" = 10 ] || die "stopped: tar failed with status $status"
say "the checksums of zstd and age held; the signature was not checked, stock tools cannot"
[ "$lost" -eq 0 ] || exit 3
