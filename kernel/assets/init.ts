// The guest's PID 1: a busybox ash script. It mounts the kernel's file systems, loads the drivers of the virtio
// devices that are on the bus, gives the user a shell on hvc0 when the command line says `troupe.shell=1`, and
// serves commands over named virtio-console ports (the protocol is described in exec-protocol.ts). It forks as
// little as it can: on a translated processor every fork and exec is millions of host instructions.
// Leaves out: mounting disks, network configuration and any init system of the guest's own.

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
    0x1048|0x1004) modules="$modules virtio_scsi sd_mod" ;;
    0x1053) modules="$modules vmw_vsock_virtio_transport" ;;
    0x1009|0x1049) modules="$modules 9p 9pnet_virtio" ;;
    0x105a) modules="$modules virtiofs" ;;
    0x1058) modules="$modules virtio_mem" ;;
  esac
done
[ -n "$modules" ] && modprobe -a virtio_pci $modules

find_port() {
  for port in /sys/class/virtio-ports/*; do
    name=
    read -r name 2>/dev/null <$port/name
    port=/dev/\${port##*/}
    [ "$name" = "$1" ] && [ -c $port ] && return 0
  done
  return 1
}

# a port's name arrives in a message of its own, some time after the device
wait_for_port() {
  tries=0
  until find_port $1; do
    tries=$((tries + 1))
    [ $tries -ge 150 ] && return 1
    usleep 20000
  done
}

wait_for_tty() {
  tries=0
  until [ -c $1 ] ; do
    tries=$((tries + 1))
    [ $tries -ge 150 ] && return 1
    usleep 20000
  done
}

serve_shell() {
  (
    exec <$1 >$1 2>&1
    cat /etc/motd.d/* 2>/dev/null
    echo "Linux $(uname -r), $(nproc) CPUs. Type 'poweroff' to leave; Ctrl-A x quits at once."
    while :; do
      setsid -c sh -l
      usleep 200000
    done
  ) &
}

# A command runs in a session of its own, so that its whole group can be signalled. The marks follow the last byte
# of output through the same queues: a host that has seen both has seen all.
run_command() {
  id=$1 input=stdin mark=
  shift
  while [ $# -gt 1 ]; do
    case $1 in
      nostdin) input=none ;;
      mark=*) mark=\${1#mark=} ;;
    esac
    shift
  done
  : >/run/exec/$id
  (
    command=$(echo "$1" | base64 -d)
    if [ $input = stdin ] && [ -n "$stdin_port" ]; then
      setsid sh -c "$command" <&6 >&4 2>&5 3<&- 4>&- 5>&- 6<&- &
    else
      setsid sh -c "$command" </dev/null >&4 2>&5 3<&- 4>&- 5>&- 6<&- &
    fi
    pid=$!
    echo $pid >/run/exec/$id
    wait $pid
    code=$?
    rm -f /run/exec/$id
    if [ -n "$mark" ]; then
      printf %s "$mark" >&4
      printf %s "$mark" >&5
    fi
    echo "exit $id $code" >&3
  ) 2>/dev/null &
}

kill_command() {
  tries=0
  while [ -e /run/exec/$1 ]; do
    pid=
    read -r pid 2>/dev/null </run/exec/$1
    if [ -n "$pid" ]; then
      kill -s $2 -- -$pid 2>/dev/null || kill -s $2 $pid 2>/dev/null
      return
    fi
    tries=$((tries + 1))
    [ $tries -ge 100 ] && return
    usleep 10000
  done
}

serve_control() {
  mkdir -p /run/exec
  echo ready >&3
  while :; do
    if ! read -r verb id words <&3; then
      # the host closed its end, or a signal came; a closed end must not become a busy loop
      usleep 100000
      continue
    fi
    case $verb in
      exec) run_command "$id" $words ;;
      kill) kill_command "$id" \${words:-TERM} ;;
      poweroff) sync; busybox poweroff -f ;;
      reboot) sync; busybox reboot -f ;;
      *) echo "unknown $verb" >&3 ;;
    esac
  done
}

case " $modules " in
  *' virtio_console '*)
    case " $cmdline " in
      *' troupe.shell=1 '*) if wait_for_tty /dev/hvc0; then serve_shell /dev/hvc0; else serve_shell /dev/ttyS0; fi ;;
    esac
    if wait_for_port troupe.control; then
      exec 3<>$port
      wait_for_port troupe.stdout && exec 4>$port
      wait_for_port troupe.stderr && exec 5>$port
      wait_for_port troupe.stdin && exec 6<$port && stdin_port=$port
      serve_control
    fi
    ;;
  *)
    serve_shell /dev/ttyS0
    ;;
esac

# PID 1 must not end; it has only signals and orphans to wait for
while :; do
  wait
  sleep 3600 &
  wait $!
done
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
