#!/bin/bash
# Holds the namespaces of one test cluster, and clears all of it away when nobody wants it any more.
#
#   keeper.sh hold DIRECTORY NAME MACHINE...   until standard input ends; NAME is that of the interface and the control groups
#   keeper.sh live DIRECTORY NAME MACHINE      the first process of a machine's namespaces; `hold` calls it
#   keeper.sh clear DIRECTORY NAME             what a keeper that was killed itself left behind
#
# Standard input of `hold` and `live` is a pipe that only the test can write to, and nobody does: it ends when the test
# ends, however that happens. Standard output of `hold` is the locked file of the cluster's number, which so stays taken
# until all is cleared.
set -u
verb=$1 directory=$2 name=$3
shift 3

hierarchies() {
  local hierarchy
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    if [ -e "$hierarchy/cgroup.procs" ]; then echo "${hierarchy%/}"; fi
  done
}

# A control group that kubelet can put pods under. In version 1 a new group of cpuset has no processors until it gets some.
make_group() {
  local group=$1
  mkdir -p "$group"
  if [ -e "$group/cpuset.mems" ] && [ -e "$group/tasks" ]; then
    cat "${group%/*}/cpuset.cpus" >"$group/cpuset.cpus"
    cat "${group%/*}/cpuset.mems" >"$group/cpuset.mems"
  fi
}

hold() {
  local hierarchy machine
  # A signal does not end it, so that it can clear away; its input does.
  trap '' HUP INT QUIT TERM
  for hierarchy in $(hierarchies); do
    make_group "$hierarchy/$name"
    for machine; do make_group "$hierarchy/$name/$machine"; done
  done
  for machine; do
    unshare --mount --net --pid --ipc --uts --fork --propagation private --kill-child \
      bash "$0" live "$directory" "$name" "$machine" <&0 >"$directory/log/$machine-init.log" 2>&1 &
  done
  while read -r _; do :; done
  # The death of a first process is that of its machine: processes, mounts and interfaces. `unshare` returns when all are gone.
  for machine; do
    if [ -e "$directory/$machine/pid" ]; then kill -KILL "$(cat "$directory/$machine/pid")"; fi
  done 2>/dev/null
  wait
  clear
}

live() {
  local own=$directory/$1 pid
  # /proc is still that of the outside: this is the number by which the outside knows this process.
  read -r pid _ </proc/self/stat
  mount -t proc proc /proc
  # kubelet's mounts reach containerd, and the pods that ask for them.
  mount --make-rshared /
  hostname "$1"
  mkdir -p "$own"/{kubelet,containerd,volumes,log}
  mount -t tmpfs -o mode=755 tmpfs /run
  mount -t tmpfs -o mode=755 tmpfs /var/lib
  mkdir -p /var/lib/{kubelet,volumes,cni} /run/{lock,netns,tmp}
  mount --bind "$own/kubelet" /var/lib/kubelet
  mount --make-rshared /var/lib/kubelet
  mount --bind "$own/volumes" /var/lib/volumes
  mount --bind "$own/log" /var/log
  mount --bind "$own/resolv.conf" /etc/resolv.conf
  mount --bind "$own/hosts" /etc/hosts
  ip link set lo up
  echo "$pid" >"$own/pid.new"
  mv "$own/pid.new" "$own/pid"
  # bash reaps orphans while it reads.
  while read -r _; do :; done
}

clear() {
  local hierarchy attempt
  ip link delete "$name" 2>/dev/null
  # A group is busy until the kernel is done with its last process.
  for attempt in {1..100}; do
    for hierarchy in $(hierarchies); do
      if [ -d "$hierarchy/$name" ]; then find "$hierarchy/$name" -depth -type d -exec rmdir {} \; 2>/dev/null; fi
    done
    if ! compgen -G "/sys/fs/cgroup/$name" >/dev/null && ! compgen -G "/sys/fs/cgroup/*/$name" >/dev/null; then break; fi
    sleep 0.1
  done
  rm -rf --one-file-system "$directory"
}

"$verb" "$@"
