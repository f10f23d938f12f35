// Name constraints (RFC 5280 4.2.1.10) for mail addresses, DNS names and URIs. An authority that constrains any other
// form of name is refused: its wish cannot be honoured, and to ignore it would widen what it may certify.
import type { Reader } from './bytes.ts';
import type { SubjectNames } from './certificate.ts';
import { expectElement, peekTag, readElement, Tag } from './der.ts';
import { WireError } from './errors.ts';

const MOST_SUBTREES = 256;
const PERMITTED = 0xa0;
const EXCLUDED = 0xa1;

export interface NameConstraints {
  readonly permitted: SubjectNames;
  readonly excluded: SubjectNames;
  /** A form of name is constrained that is not checked here. */
  readonly hasStrangeForms: boolean;
}

interface Form {
  readonly tag: number;
  readonly list: keyof SubjectNames;
  readonly word: string;
  /** Whether a name lies in a subtree; undefined when the name has no part that the constraint could look at. */
  readonly within: (name: string, subtree: string) => boolean | undefined;
}

const FORMS: readonly Form[] = [
  { tag: 0x81, list: 'emails', word: 'mail address', within: mailWithin },
  { tag: 0x82, list: 'dnsNames', word: 'DNS name', within: (name, subtree) => belowOrEqual(name.toLowerCase(), subtree.toLowerCase()) },
  { tag: 0x86, list: 'uris', word: 'URI', within: uriWithin },
];

/** Reads the extension's value; throws WireError for what is malformed. */
export function decodeNameConstraints(value: Reader): NameConstraints {
  const content = expectElement(value, Tag.sequence, 'nameConstraints').content;
  const lists = { permitted: emptyNames(), excluded: emptyNames() };
  let hasStrangeForms = false;
  while (content.remaining > 0) {
    const element = readElement(content, 'subtrees of nameConstraints');
    if (element.tag !== PERMITTED && element.tag !== EXCLUDED) throw new WireError(`nameConstraints has subtrees with tag ${element.tag}`);
    const into = element.tag === PERMITTED ? lists.permitted : lists.excluded;
    for (let count = 0; element.content.remaining > 0; count++) {
      if (count === MOST_SUBTREES) throw new WireError(`nameConstraints has more than ${MOST_SUBTREES} subtrees`);
      const subtree = expectElement(element.content, Tag.sequence, 'subtree').content;
      const base = readElement(subtree, 'base of a subtree');
      const form = FORMS.find(({ tag }) => tag === base.tag);
      // minimum and maximum have no meaning in this profile of X.509 and must be at their defaults.
      if (form === undefined || peekTag(subtree) !== undefined) hasStrangeForms = true;
      else into[form.list].push(Buffer.from(base.content.rest()).toString('latin1'));
    }
  }
  return { ...lists, hasStrangeForms };
}

/** Why these names are outside of what an authority may certify, as a clause; undefined when they are inside. */
export function nameProblem(names: SubjectNames, constraints: NameConstraints): string | undefined {
  for (const { list, word, within } of FORMS) {
    const [permitted, excluded] = [constraints.permitted[list], constraints.excluded[list]];
    for (const name of names[list]) {
      if (excluded.some((subtree) => within(name, subtree) !== false)) return `the ${word} ${name} is excluded`;
      if (permitted.length > 0 && !permitted.some((subtree) => within(name, subtree) === true)) return `the ${word} ${name} is not permitted`;
    }
  }
  return undefined;
}

function emptyNames(): Record<keyof SubjectNames, string[]> {
  return { emails: [], uris: [], dnsNames: [], ipAddresses: [] };
}

/** DNS: the subtree itself and everything below it; a leading dot leaves the subtree itself out. */
function belowOrEqual(name: string, subtree: string): boolean {
  if (subtree === '') return true;
  return subtree.startsWith('.') ? name.endsWith(subtree) : name === subtree || name.endsWith(`.${subtree}`);
}

/** Mail and URI: a host means exactly that host, a leading dot means every host below. */
function hostWithin(host: string, subtree: string): boolean {
  return subtree.startsWith('.') ? host.endsWith(subtree) : host === subtree;
}

/** A subtree is one mailbox, all mailboxes of a host, or all of a domain; only the host ignores case. */
function mailWithin(name: string, subtree: string): boolean {
  const at = name.lastIndexOf('@');
  const host = name.slice(at + 1).toLowerCase();
  const mark = subtree.lastIndexOf('@');
  if (mark < 0) return subtree === '' || hostWithin(host, subtree.toLowerCase());
  return name.slice(0, at) === subtree.slice(0, mark) && host === subtree.slice(mark + 1).toLowerCase();
}

/** A URI without a host by name, such as a URN, cannot be shown to lie anywhere. */
function uriWithin(name: string, subtree: string): boolean | undefined {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/(?:[^@/?#]*@)?([^:/?#]*)/i.exec(name)?.[1]?.toLowerCase();
  if (authority === undefined || authority === '' || authority.startsWith('[') || /^[0-9.]+$/.test(authority)) return undefined;
  return hostWithin(authority, subtree.toLowerCase());
}
