// One log record as one line: time, level, sentence, then key=value fields.
import type { FieldValue, LogRecord } from './log.ts';
import { rfc3339 } from './time.ts';

const BARE = /^[A-Za-z0-9._:/@+,[\]-]+$/;

/** `2026-01-02T03:04:05.678Z info IKE SA established peer=c1 note="two words"` */
export function formatLine(record: LogRecord): string {
  return `${rfc3339(record.unixMs)} ${record.level} ${formatEvent(record)}`;
}

/** The sentence and its fields, for sinks that add time and level themselves. */
export function formatEvent(record: LogRecord): string {
  let line = escapeControls(record.sentence);
  for (const [key, value] of Object.entries(record.fields)) if (value !== undefined) line += ` ${key}=${formatValue(value)}`;
  return line;
}

function formatValue(value: Exclude<FieldValue, undefined>): string {
  // The type admits no objects; were one to come through a cast it could be a key, so it is not shown.
  if (typeof value === 'object') return 'withheld';
  const text = String(value);
  return BARE.test(text) ? text : `"${escapeControls(text.replaceAll(/["\\]/g, (char) => `\\${char}`))}"`;
}

/** One record is one line, whatever a peer puts into a name. */
function escapeControls(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
