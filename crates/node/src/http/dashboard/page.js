// Shows what the node says, every second, and lets somebody decide whom it trusts. What comes from the network is
// put into the page as text, never as markup.
'use strict';

const EVERY_MS = 1000;
const NOTICE_MS = 8000;
const PATIENCE_MS = 5000;

// The node was started again, or a month has passed.
class LetOut extends Error {}

const byId = (id) => document.getElementById(id);

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function button(label, action) {
  const made = element('button', label);
  made.type = 'button';
  made.addEventListener('click', () => act(action));
  return made;
}

async function ask(path, method = 'GET') {
  const answer = await fetch(path, { method, signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.status === 401 || answer.status === 429) throw new LetOut();
  if (answer.status === 204) return null;
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail ?? `the node answered ${answer.status}`);
  return said;
}

function say(text, isLost) {
  const status = byId('status');
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle('lost', isLost);
}

// What was done last, or why it was not, and until when it is shown.
let notice = { text: '', until: 0 };

// Does something, and says what it says of it.
async function act(action) {
  let said;
  try {
    said = await action();
  } catch (error) {
    said = error.message;
  }
  notice = { text: typeof said === 'string' ? said : '', until: performance.now() + NOTICE_MS };
  await refresh();
}

const ms = (us) => (us === null || us === undefined ? '' : `${(us / 1000).toFixed(2)} ms`);

function peerRow(peer) {
  const state = peer.why ? `${peer.state}: ${peer.why}` : peer.state;
  const lost = peer.loss_out === undefined ? '' : `${(peer.loss_out * 100).toFixed(1)} %`;
  const cells = [peer.name, state, ms(peer.rtt_us), ms(peer.jitter_us), lost];
  return element('tr', undefined, ...cells.map((cell) => element('td', cell)));
}

function waitingItem(peer) {
  const path = `/trust/${peer.id}`;
  const item = element('li', undefined, element('bdi', peer.name), ` (${peer.id.slice(0, 8)}, at ${peer.address}) `);
  if (peer.confirmed_here) {
    item.append('is confirmed here; it waits to be confirmed there.');
  } else if (peer.code) {
    const code = encodeURIComponent(peer.code);
    item.append('shows the code', element('span', peer.code), 'if nobody stands in between. ');
    item.querySelector('span').className = 'code';
    item.append(button('It shows the same: trust it', () => ask(`${path}?code=${code}`, 'POST')));
  } else {
    item.append(button('Compare codes', async () => {
      await ask(`${path}/ask`, 'POST');
      return `Now do the same on ${peer.name}: then both show a code.`;
    }));
  }
  item.append(button('Refuse', () => ask(`${path}/refuse`, 'POST')));
  return item;
}

function trustedItem(peer) {
  const about = ` (${peer.id.slice(0, 8)}): ${peer.trust}, ${peer.state} `;
  const item = element('li', undefined, element('bdi', peer.name), about);
  if (peer.trust === 'confirmed') {
    item.append(button('Trust it no longer', () => ask(`/trust/${peer.id}`, 'DELETE')));
  }
  return item;
}

// What is the same stays: nobody loses the button that they are about to press.
const shown = new Map();
function show(id, items, make) {
  const text = JSON.stringify(items);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  byId(id).replaceChildren(...items.map(make));
}

async function refresh() {
  try {
    const [info, mesh, trust] = await Promise.all(['/node/info', '/network/mesh', '/trust'].map((path) => ask(path)));
    document.title = `${info.name} – midip2p`;
    byId('name').textContent = info.name;
    const linked = mesh.peers.filter((peer) => peer.state === 'connected').length;
    const isNoticed = notice.text && performance.now() < notice.until;
    say(isNoticed ? notice.text : `${info.short}: linked with ${linked}`, false);
    show('peers', mesh.peers, peerRow);
    byId('nobody').hidden = mesh.peers.length > 0;
    const waits = (peer) => peer.trust === 'waiting';
    const inOrder = (a, b) => (a.id < b.id ? -1 : 1);
    const waiting = trust.peers.filter(waits).map(({ waiting_ms, ...rest }) => rest).sort(inOrder);
    const others = trust.peers.filter((peer) => !waits(peer));
    show('waiting', waiting, waitingItem);
    show('trusted', others, trustedItem);
    byId('waiting-section').hidden = waiting.length === 0;
    byId('trusted-section').hidden = others.length === 0;
  } catch (error) {
    if (error instanceof LetOut) {
      isLetIn = false;
      say('This browser is let in no longer: type midip2p browser in a terminal, and follow its link.', true);
      return;
    }
    say(`The node does not answer (${error.message}); trying again.`, true);
  }
}

let isLetIn = true;

async function run() {
  await refresh();
  if (isLetIn) setTimeout(run, EVERY_MS);
}

byId('panic').addEventListener('click', () => act(async () => {
  await ask('/panic', 'POST');
  return 'Everything is silent.';
}));
run();
