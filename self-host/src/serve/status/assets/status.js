// Asks for the page again every few seconds, while somebody looks at it. Where the session has ended the form is shown.
const EVERY = 5000;

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch('.', { headers: { accept: 'text/html' } }).catch(() => null);
  if (!answer || !answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('status');
  if (!fresh) { location.reload(); return; }
  const shown = document.getElementById('status');
  if (shown.innerHTML === fresh.innerHTML) return;
  // What has the keyboard's focus keeps it.
  const places = [...shown.querySelectorAll('[tabindex]')];
  const place = places.indexOf(document.activeElement);
  shown.replaceChildren(...fresh.childNodes);
  if (place >= 0) shown.querySelectorAll('[tabindex]')[place]?.focus({ preventScroll: true });
}

setInterval(refresh, EVERY);
document.addEventListener('visibilitychange', refresh);
