#!/bin/sh
# Lays out all that a container of roomd holds: the program, the libraries it needs, the certificates for rediss://, and its
# configuration. No shell, no package manager, nothing else that somebody could use who breaks in.
#
# usage: rootfs.sh PROGRAM CLUSTER_TOML FOLDER
set -eu
program=$1 config=$2 folder=$3

mkdir -p "$folder/usr/bin" "$folder/etc/roomd" "$folder/etc/ssl/certs" "$folder/run/roomd" "$folder/dev" "$folder/proc" "$folder/tmp"
install -m 0755 "$program" "$folder/usr/bin/roomd"
install -m 0644 "$config" "$folder/etc/roomd/cluster.toml"
cp -L /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"

# The loader and the libraries, where the program looks for them.
ldd "$program" | awk '{ for (i = 1; i <= NF; i++) if ($i ~ "^/") print $i }' | while read -r library; do
  mkdir -p "$folder$(dirname "$library")"
  cp -L "$library" "$folder$library"
done

# A name for the user, and names of hosts by the file first, then by DNS.
echo 'roomd:x:65532:65532:roomd:/:/usr/bin/false' >"$folder/etc/passwd"
echo 'roomd:x:65532:' >"$folder/etc/group"
echo 'hosts: files dns' >"$folder/etc/nsswitch.conf"
chown 65532:65532 "$folder/run/roomd"
chmod 0700 "$folder/run/roomd"
chmod 1777 "$folder/tmp"
