/** See build.mjs. */
export function buildAddon(root: string, options?: { readonly arch?: 'x64' | 'arm64'; readonly headers?: string }): { readonly built: boolean; readonly file: string };
