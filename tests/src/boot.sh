#!/bin/sh
# Boots systemd as process 1 of namespaces of its own; run by `unshare` (tests/src/systemd.rs). $1 is a folder of the test: `roomd`
# there becomes /usr/bin/roomd, `units` the units that are there from the start. Whatever is written stays in memory.
set -eu
folder=$1
mount --make-rprivate /
mount -t tmpfs machine /mnt
mkdir -p /mnt/dev /mnt/folder /mnt/etc/upper /mnt/etc/work /mnt/usr/upper /mnt/usr/work
for tree in etc usr; do
  mount -t overlay machine -o "lowerdir=/$tree,upperdir=/mnt/$tree/upper,workdir=/mnt/$tree/work" "/$tree"
done
cp "$folder/roomd" /usr/bin/roomd
rm -rf /etc/systemd/system/*.wants /etc/systemd/system/*.requires
od -An -tx1 -N16 /dev/urandom | tr -d ' \n' >/etc/machine-id

# Devices: those that every program needs. What systemd adds must not show outside.
mount -t tmpfs machine /mnt/dev
for device in null zero full random urandom tty; do
  : >"/mnt/dev/$device"
  mount --bind "/dev/$device" "/mnt/dev/$device"
done
ln -s /proc/self/fd /mnt/dev/fd
mkdir /mnt/dev/shm /mnt/dev/pts /mnt/dev/mqueue
mount -t devpts -o ptmxmode=666 machine /mnt/dev/pts
ln -s pts/ptmx /mnt/dev/ptmx
mount --move /mnt/dev /dev

# Its folders, and nothing of this machine's own services in them.
units=$(mktemp -d /mnt/units.XXXXXX)
cp "$folder"/units/* "$units"
for place in /run /var /tmp; do
  mount -t tmpfs machine "$place"
done
mkdir -p /run/lock /run/systemd/system /var/tmp /var/log /var/lib /var/cache /var/spool
ln -s /run /var/run
chmod 1777 /tmp /var/tmp
cp "$units"/* /run/systemd/system

# Of a network of its own; any other has it up.
ip link set lo up

# The kernel's settings are this machine's: systemd raises some as process 1.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 machine /sys/fs/cgroup
export container=roomd-test
exec /lib/systemd/systemd --system --unit=test.target --show-status=no
