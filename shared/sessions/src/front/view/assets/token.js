// The caller's token: it comes in the address or is asked for, lies in this tab's storage, and nowhere else.

const KEY = "token";

/** Takes the token out of the address before anything else is loaded, and gives the one that is known. */
export function known() {
  const address = new URL(location.href);
  const sent = address.searchParams.get("token");
  if (sent !== null) {
    address.searchParams.delete("token");
    history.replaceState(null, "", address);
    if (sent.trim() !== "") sessionStorage.setItem(KEY, sent.trim());
  }
  return sessionStorage.getItem(KEY);
}

/** Asks for a token. `problem` says why the last one did not do. */
export function ask(problem = "") {
  sessionStorage.removeItem(KEY);
  const dialog = document.getElementById("token-dialog");
  const field = document.getElementById("token");
  document.getElementById("token-problem").textContent = problem;
  field.value = "";
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    document.getElementById("token-form").addEventListener("submit", () => {
      sessionStorage.setItem(KEY, field.value.trim());
      resolve(field.value.trim());
    }, { once: true });
  });
}
