/** The API key of a page: asked for when the server refuses a request, and kept until its tab is closed. */

import { session } from "./api.js";
import { byId } from "./dom.js";

export const keyForm = { isOpen: false };

/**
 * Takes the key that this tab has under `item`.
 * @param item What the key is kept under.
 * @param onNeeded Called when the server needs another key.
 * @param onChange Called when there is a new key, or none; gets whether the form had the keyboard.
 */
export function startKey(item, onNeeded, onChange) {
  try {
    session.key = sessionStorage.getItem(item) ?? "";
  } catch { /* storage is blocked */ }

  session.onRefused = (reason = "The server does not accept this key.") => {
    byId("key-error").textContent = session.key ? reason : "";
    if (keyForm.isOpen) return;
    keyForm.isOpen = true;
    byId("key-form").hidden = false;
    byId("api-key").focus();
    onNeeded();
  };

  /** Starts over with this key, or with none. */
  const use = (key) => {
    const hadFocus = byId("key-form").contains(document.activeElement);
    session.key = key;
    try {
      if (key) sessionStorage.setItem(item, key);
      else sessionStorage.removeItem(item);
    } catch { /* storage is blocked: the key is lost when the page is left */ }
    keyForm.isOpen = false;
    byId("api-key").value = "";
    byId("key-form").hidden = true;
    byId("forget-key").hidden = !key;
    onChange(hadFocus);
  };

  byId("forget-key").hidden = !session.key;
  byId("forget-key").addEventListener("click", () => use(""));
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const key = byId("api-key").value.trim();
    if (/^[\x21-\x7e]+$/.test(key)) use(key);
    else byId("key-error").textContent = key ? "A key has only letters, digits and signs, and no spaces." : "Enter the key first.";
  });
}
