// Cookies of flow entries: who put a flow there. The high half says which rule of which app, the low half on which entity.

/** FNV-1a, 32 bits. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

const COOKIE_TAG = 0xa0;
/** High half of a rule's cookies (`<app>/<rule>`): 8 bits that say "ours", 24 that say which rule. */
export const cookieOf = (rule: string): number => ((COOKIE_TAG << 24) | (hash32(rule) & 0xffffff)) >>> 0;
/** Whether a high half is of a rule, of whichever controller. */
export const isOfRule = (cookieHi: number): boolean => cookieHi >>> 24 === COOKIE_TAG;

const LEARNED_TAG = 0xa1;
/**
 * Cookie of what a flow learns, from the flow's own. When that goes a switch takes with it whatever has this cookie in the learned table
 * (delete_learned, ovs-actions(7)): under another layout of the tables there may be flows of the same rule and entity, which are to stay.
 */
export const learnedCookie = (cookie: bigint): bigint => (cookie & 0x00ff_ffff_ffff_ffffn) | (BigInt(LEARNED_TAG) << 56n);

/** Rule of what an app has without an entity, and table-miss entries. */
export const staticRule = (app: string): string => `${app}/static`;
/** Entity of these: with it a switch shows under which layout of the tables its flows were made. */
export const staticEntity = (app: string, fingerprint: string): string => `${app} ${fingerprint}`;
