// What a healthy Linux never says in its log. Written after what the kernel prints when a CPU, a clock or an interrupt goes
// wrong under it; the second list is what it says on sound machines too.

const COMPLAINTS = [
  /\bWARNING\b/,
  /\bOops\b/i,
  /\bBUG\b/,
  /Call Trace/,
  /Kernel panic/,
  /lockup/i,
  /\bstall(s|ed)?\b/i,
  /hung task|blocked for more than/,
  /rcu_\w+ kthread (starved|timer wakeup)/,
  /unstable/i,
  /clocksource: .*(skew|Watchdog)/,
  /time (jump|went backwards)/i,
  /nobody cared|Disabling IRQ|spurious .*interrupt/i,
  /general protection|segfault|invalid opcode|divide error|double fault|traps:/i,
  /unexpected (irq|exception|NMI)|Uhhuh/i,
  /ACPI (BIOS )?(Error|Warning|Exception)/,
  /\[Firmware (Bug|Warn)\]/,
  /do_boot_cpu|not responding|failed to (start|come)|CPU\d+: Stuck/i,
  /I\/O error|Buffer I\/O|timed? ?out/i,
  /W\+X pages found|\bW\+X mapping, \d/,
  /unchecked MSR access/,
  /\bfailed\b/i,
];

const INNOCENT = [/no W\+X pages found/, /NMI watchdog: .*(disabled|delayed)/];

/** The lines of a kernel log (dmesg or serial) that report trouble. */
export function complaintsOf(log: string): string[] {
  return log
    .split(/\r?\n/)
    .filter((line) => COMPLAINTS.some((complaint) => complaint.test(line)))
    .filter((line) => !INNOCENT.some((innocent) => innocent.test(line)));
}
