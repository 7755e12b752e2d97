// What this page asked, as a command for a shell.

import { address } from "./service.js";

/** The command that posts a file with these options. */
export function curlCommand({ name, type, query, key }) {
  const lines = ["curl -X POST", `--data-binary ${quoted(`@${name}`)}`];
  lines.push(`-H ${quoted(`Content-Type: ${type}`)}`);
  if (key) lines.push('-H "X-API-Key: $FARPOSE_API_KEY"');
  lines.push(quoted(address("pose", query).href));
  return lines.join(" \\\n  ");
}

/** Copy an element's text; without a clipboard (plain http) select it for the visitor to copy. */
export async function copyText(element) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(element.textContent);
      return true;
    } catch {
      // Refused by the browser: select it instead.
    }
  }
  getSelection().selectAllChildren(element);
  return false;
}

/** One word of a shell, whatever is in it. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
