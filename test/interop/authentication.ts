// How strongSwan authenticates itself and us, as the sections of swanctl.conf that say so.

type Files = Readonly<Record<string, string>>;

export type StrongswanCredential =
  | { readonly psk: string }
  /** Certificates and keys by their place under swanctl's directory. */
  | {
      readonly files: Files;
      /** Which signatures it makes, e.g. `rsa/pss-sha256`. Default: what fits its key. */
      readonly signature?: string;
    }
  /** strongSwan is the user. `certificate`: we must show ours before EAP. Default true. */
  | { readonly files: Files; readonly user: { readonly method: string; readonly identity: string; readonly password?: string }; readonly certificate?: boolean }
  /** We are the user; `passwords` by user. `certificate`: strongSwan shows it before EAP; `asks`: who we are, in EAP. Default true. */
  | { readonly files: Files; readonly method: string; readonly passwords: Readonly<Record<string, string>>; readonly certificate?: boolean; readonly asks?: boolean };

/** Text for the inside of `local { }` and `remote { }`, and whole `secrets { }`. */
export interface AuthSections {
  readonly local: string;
  readonly remote: string;
  readonly secrets: string;
}

function eapSecrets(passwords: Readonly<Record<string, string>>): string {
  return Object.entries(passwords).map(([user, password], i) => `secrets { eap-${i} { id = "${user}" \n secret = "${password}" } }`).join('\n');
}

/** `theirs` empty: what strongSwan takes of its certificate by itself. */
export function authSections(credential: StrongswanCredential, { ours, theirs }: { readonly ours: string; readonly theirs: string }): AuthSections {
  const us = `id = "${ours}"`;
  const them = theirs === '' ? '' : `id = "${theirs}"`;
  const certificate = `auth = pubkey \n certs = peer.pem`;
  if ('psk' in credential) {
    const secrets = `secrets { ike { id-1 = "${ours}" \n id-2 = "${theirs}" \n secret = 0x${credential.psk} } }`;
    return { local: `auth = psk \n ${them}`, remote: `auth = psk \n ${us}`, secrets };
  }
  if ('user' in credential) {
    const { method, identity, password } = credential.user;
    const secrets = password === undefined ? '' : eapSecrets({ [identity]: password });
    const shown = password === undefined ? '\n certs = peer.pem' : '';
    const remote = `auth = ${credential.certificate === false ? method : 'pubkey'} \n ${us}`;
    return { local: `auth = ${method} \n ${them} \n eap_id = "${identity}" ${shown}`, remote, secrets };
  }
  if ('method' in credential) {
    const local = credential.certificate === false ? `auth = ${credential.method} \n certs = peer.pem` : certificate;
    return { local: `${local} \n ${them}`, remote: `auth = ${credential.method} \n ${us} ${credential.asks === false ? '' : '\n eap_id = %any'}`, secrets: eapSecrets(credential.passwords) };
  }
  const { signature = 'pubkey' } = credential;
  return { local: `auth = ${signature} \n certs = peer.pem \n ${them}`, remote: `auth = pubkey \n ${us}`, secrets: '' };
}
