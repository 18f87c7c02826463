// The guest's PID 1: a busybox ash script. It mounts the kernel's file systems, loads the drivers of the virtio
// devices that are on the bus, and starts troupe-serve, which gives the user a shell on hvc0 when the command line
// says `troupe.shell=1` and runs commands over named ports (see shared/boot/exec-protocol.ts). It forks as little
// as it can: on a translated processor every fork and exec is millions of host instructions.
// Leaves out: mounting disks, network configuration and any init system of the guest's own.

import { PORT_CONTROL, PORT_STDERR, PORT_STDIN, PORT_STDOUT } from '#shared/boot/exec-protocol.js';

/** Contents of `/init`. */
export const INIT_SCRIPT = `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux
umask 022
cd /

# busybox poweroff, halt and reboot signal PID 1
trap 'sync; busybox poweroff -f' USR2
trap 'sync; busybox halt -f' USR1
trap 'sync; busybox reboot -f' TERM

mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
echo troupe >/proc/sys/kernel/hostname
read -r cmdline </proc/cmdline

# drivers for what is on the bus, the console first
modules=
for device in /sys/bus/pci/devices/*; do
  read -r vendor <$device/vendor
  [ "$vendor" = 0x1af4 ] || continue
  read -r id <$device/device
  case $id in
    0x1003|0x1043) modules="virtio_console $modules" ;;
    0x1000|0x1041) modules="$modules virtio_net" ;;
    0x1001|0x1042) modules="$modules virtio_blk" ;;
    0x1005|0x1044) modules="$modules virtio_rng" ;;
    0x1002|0x1045) modules="$modules virtio_balloon" ;;
    0x1053) modules="$modules vmw_vsock_virtio_transport" ;;
    0x105a) modules="$modules virtiofs" ;;
    0x1058) modules="$modules virtio_mem" ;;
  esac
done
[ -n "$modules" ] && modprobe -q -a virtio_pci $modules

shell=no
case " $cmdline " in *' troupe.shell=1 '*) shell=yes ;; esac
console=hvc0
case " $modules " in *' virtio_console '*) ;; *) console=ttyS0 shell=yes ;; esac

# ash starts background jobs with SIGINT ignored, for them and all they start; start-stop-daemon does not
start-stop-daemon -S -b -p /run/troupe-serve.pid -x /sbin/troupe-serve -- $console $shell

# wait is what a signal interrupts and what reaps orphans
while :; do
  sleep 86400 &
  wait $!
done
`;

/** Contents of `/sbin/troupe-serve`, which takes the console's device name and `yes` or `no` for a shell on it. */
export const SERVE_SCRIPT = `#!/bin/sh
tty=/dev/$1 shell=$2

find_port() {
  for port in /sys/class/virtio-ports/*; do
    name=
    read -r name 2>/dev/null <$port/name
    port=/dev/\${port##*/}
    [ "$name" = "$1" ] && [ -c $port ] && return 0
  done
  return 1
}

# a port and its name arrive in messages of their own, some time after the device
patiently() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ $tries -ge 150 ] && return 1
    usleep 20000
  done
}

# the end of a session hangs its terminal up, so each shell opens it anew
serve_shell() {
  [ $shell = yes ] || return
  patiently test -c $tty || tty=/dev/ttyS0
  echo "Linux $(uname -r) on $(nproc) CPUs. 'poweroff' ends the machine, Ctrl-A x quits at once." >$tty
  while :; do
    setsid -c sh -l <$tty >$tty 2>&1
    usleep 200000
  done
}

# prints the ids of commands to run
serve_control() {
  echo ready >&3
  while :; do
    if ! read -r verb id words <&3; then
      usleep 100000 # the host closed its end, which must not become a busy loop
      continue
    fi
    case $verb in
      exec)
        echo "$words" >/run/exec/$id
        echo $id
        ;;
      kill) kill_command "$id" \${words:-TERM} ;;
      poweroff) sync; busybox poweroff -f ;;
      reboot) sync; busybox reboot -f ;;
      *) echo "unknown $verb" >&3 ;;
    esac
  done
}

# from the request on there is a file, and from the session on another
kill_command() {
  tries=0
  while [ -e /run/exec/$1 ]; do
    pid=
    read -r pid 2>/dev/null </run/exec/$1.pid
    if [ -n "$pid" ]; then
      kill -s $2 -- -$pid 2>/dev/null || kill -s $2 $pid 2>/dev/null
      return
    fi
    tries=$((tries + 1))
    [ $tries -ge 100 ] && return
    usleep 10000
  done
}

# a machine without these ports has no commands to run; its shell does not wait for them
serve_commands() {
  patiently find_port ${PORT_CONTROL} || return
  exec 3<>$port
  patiently find_port ${PORT_STDOUT} && exec 4>$port
  patiently find_port ${PORT_STDERR} && exec 5>$port
  patiently find_port ${PORT_STDIN} && exec 6<$port
  mkdir -p /run/exec
  # named by its path, because ash runs applets in its own process, where its signal handler cuts reads short
  serve_control | /bin/busybox xargs -n 1 -P 256 troupe-run
}

# a pipeline, because its parts run at once without the signals that ash ignores for background jobs
if [ $1 = hvc0 ]; then
  serve_shell | serve_commands
else
  serve_shell
fi
`;

/**
 * Contents of `/sbin/troupe-run`, which takes a request's id and runs its command in a session of its own, so that all of
 * it can be signalled. The marks follow the last byte of output through the same queues.
 */
export const RUN_SCRIPT = `#!/bin/sh
id=$1 stdin=yes mark=
read -r words </run/exec/$id
set -- $words
while [ $# -gt 1 ]; do
  case $1 in
    nostdin) stdin=no ;;
    mark=*) mark=\${1#mark=} ;;
  esac
  shift
done
command=$(echo "$1" | base64 -d)
[ $stdin = no ] && exec 6</dev/null
(
  read -r pid rest </proc/self/stat
  echo $pid >/run/exec/$id.pid
  exec setsid sh -c "$command" <&6 >&4 2>&5 3<&- 4>&- 5>&- 6<&-
)
code=$?
rm -f /run/exec/$id /run/exec/$id.pid
if [ -n "$mark" ]; then
  printf %s "$mark" >&4
  printf %s "$mark" >&5
fi
echo "exit $id $code" >&3
exit 0
`;

/** Contents of `/etc/profile`, read by the shell on hvc0. */
export const PROFILE_SCRIPT = `export PS1='root@\\h:\\w# '
cd
`;

/** Wrapper in `/sbin` for `poweroff`, `halt` and `reboot`: nothing here has services to stop first. */
export function powerScript(applet: 'poweroff' | 'halt' | 'reboot'): string {
  return `#!/bin/sh\nsync\nexec busybox ${applet} -f\n`;
}

/** Contents of `/bin/lspci`: busybox-static has no such applet. Prints lspci's line form from sysfs. */
export const LSPCI_SCRIPT = `#!/bin/sh
for device in /sys/bus/pci/devices/*; do
  [ -e $device/class ] || continue
  read -r class <$device/class
  read -r vendor <$device/vendor
  read -r id <$device/device
  read -r revision <$device/revision
  class=\${class#0x}; vendor=\${vendor#0x}; id=\${id#0x}; revision=\${revision#0x}
  case $class in
    00*) kind='Unclassified device' ;;
    0100*) kind='SCSI storage controller' ;;
    0180*) kind='Mass storage controller' ;;
    0200*) kind='Ethernet controller' ;;
    0300*) kind='VGA compatible controller' ;;
    0500*) kind='RAM memory' ;;
    0600*) kind='Host bridge' ;;
    0601*) kind='ISA bridge' ;;
    0604*) kind='PCI bridge' ;;
    0780*) kind='Communication controller' ;;
    *) kind="Class \${class%??}" ;;
  esac
  case $vendor:$id in
    1af4:1000|1af4:1041) name='Virtio network device' ;;
    1af4:1001|1af4:1042) name='Virtio block device' ;;
    1af4:1002|1af4:1045) name='Virtio memory balloon' ;;
    1af4:1003|1af4:1043) name='Virtio console' ;;
    1af4:1004|1af4:1048) name='Virtio SCSI' ;;
    1af4:1005|1af4:1044) name='Virtio RNG' ;;
    1af4:1009|1af4:1049) name='Virtio 9P transport' ;;
    1af4:1053) name='Virtio socket' ;;
    1af4:1058) name='Virtio memory' ;;
    1af4:105a) name='Virtio file system' ;;
    *) name="Device $vendor:$id" ;;
  esac
  slot=\${device##*/}
  if [ "$1" = -n ]; then line="\${slot#0000:} \${class%??}: $vendor:$id"; else line="\${slot#0000:} $kind: $name"; fi
  [ "$revision" = 00 ] || line="$line (rev $revision)"
  echo "$line"
done
`;
