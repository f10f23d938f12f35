// What the console of a virtual machine says of a failure: the kernel's own complaint where there is one, else its end.

/** How Linux begins to complain of itself. */
const COMPLAINT = /\b(?:BUG:|Oops:|Kernel panic|general protection fault|Unable to handle kernel|Out of memory:|I\/O error)/;
/** Lines of a complaint; a call trace has some thirty. */
const COMPLAINT_LINES = 45;
const LAST_LINES = 15;

/** Lines to show of a console's log. */
export function consoleTrouble(log: string): readonly string[] {
  const lines = log.split(/\r*\n/).filter((line) => line.trim() !== '');
  const first = lines.findIndex((line) => COMPLAINT.test(line));
  return first < 0 ? lines.slice(-LAST_LINES) : lines.slice(Math.max(0, first - 3), first + COMPLAINT_LINES);
}
