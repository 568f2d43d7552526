/** The way to the server that sent the page, and to nobody else. */

const SECOND = 1000;
const LONGEST_DELAY = 30 * SECOND;
const PATIENCE = 60 * SECOND;

/** The server could not be reached, or refused. */
export class LinkError extends Error {}

/**
 * Milliseconds until the next look: one second, and after failures twice as long each time.
 * @param {number} failures in a row
 * @returns {number}
 */
export function delayAfter(failures) {
  return Math.min(LONGEST_DELAY, SECOND * 2 ** failures);
}

/**
 * @param {string} token that the server has printed
 * @returns {{json: (path: string) => Promise<any>}}
 */
export function createLink(token) {
  const options = () => ({
    headers: { Authorization: `Bearer ${token}` },
    cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(PATIENCE),
  });
  const json = async (path) => {
    let response;
    try {
      response = await fetch(path, options());
      if (response.ok) return await response.json();
    } catch {
      throw new LinkError("connection lost");
    }
    throw new LinkError(response.status === 403 ? "another server has taken this address: open the one that it printed" : `the server answered ${response.status}`);
  };
  return { json };
}
