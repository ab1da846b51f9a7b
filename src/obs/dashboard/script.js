/* The dashboard: reads /stats once a second and draws it.
 *
 *   poll --> stats --> tiles, charts, tables
 *     \--401, 403--> sign-in --> the key, kept until the tab is closed --> poll
 *
 * Whatever comes from the server is put into the page as text, never as markup.
 */
'use strict';

const $ = id => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';
const EVERY_MS = 1000, PATIENCE_MS = 8000, SLOTS = 60, KEY = 'ccproxy-key';

let stats = null, key = sessionStorage.getItem(KEY), paused = false, timer = 0;

/* --- elements ---------------------------------------------------------------------------- */

function make(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) e.setAttribute(name, value);
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

function draw(tag, attributes, text) {
  const e = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

/* --- numbers ----------------------------------------------------------------------------- */

const digits = n => n >= 100 || n === 0 ? 0 : n >= 10 ? 1 : 2;
function short(n) {
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e4]])
    if (n >= size) { const v = n / (unit === 'k' ? 1e3 : size); return v.toFixed(v >= 100 ? 0 : 1) + unit; }
  return Number.isInteger(n) ? n.toLocaleString('en') : n.toFixed(digits(n));
}
function seconds(s) {
  if (s === null || s === undefined) return '–';
  if (s < .0005) return '<1 ms';
  if (s < 1) return Math.round(s * 1000) + ' ms';
  if (s < 100) return s.toFixed(s < 10 ? 2 : 1) + ' s';
  return span(s);
}
function span(s) {
  const d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${Math.floor(s % 60)} s` : `${Math.floor(s)} s`;
}
function usd(n) {
  if (n > 0 && n < 1e-4) return '<$0.0001';
  return '$' + (n >= 1000 ? short(n) : n >= 1 ? n.toFixed(2) : n.toFixed(4).replace(/(\.\d\d)0+$/, '$1'));
}
const orDash = (n, format) => n ? format(n) : '–';
const percent = (n, of) => of ? (100 * n / of).toFixed(n && n * 100 < of * 10 ? 1 : 0) + '%' : '–';
const prompt = t => t.input + t.cache_read + t.cache_write;
const clock = iso => new Date(iso).toLocaleTimeString([], { hour12: false });

/* --- tiles ------------------------------------------------------------------------------- */

/* more: what may stand on a line together, but is not broken itself. */
function tile(name, value, unit, more, bad) {
  return make('div', { class: bad ? 'tile bad' : 'tile' }, make('h2', {}, name),
    make('div', { class: 'value' }, value, unit ? make('small', {}, unit) : null),
    make('div', { class: 'more' }, ...more.flatMap(part => [make('span', {}, part), ' '])));
}

function showTiles(w) {
  const s = Math.max(w.seconds, 1), d = w.answer_seconds, f = w.time_to_first_token_seconds;
  const ours = w.errors.upstream + w.errors.gateway;
  const busy = stats.upstream.connections_busy;
  $('tiles').replaceChildren(
    tile('Requests', short(w.requests / s), '/s', [`${short(w.requests)} in ${span(s)}`]),
    tile('In progress', short(stats.current_active_requests), '',
      [`${short(stats.current_active_streams)} streams`, `${short(stats.current_queued_requests)} waiting`,
        `${short(stats.processes.client_connections)} connections`, `${busy} upstream`]),
    tile('Output tokens', short(w.tokens.output / s), '/s',
      [`${short(prompt(w.tokens))} prompt`, `${short(w.tokens.output)} output`]),
    tile('Answers take', d ? seconds(d.p50) : '–', 'p50', d ? [`p90 ${seconds(d.p90)}`, `p99 ${seconds(d.p99)}`] : ['nothing yet']),
    tile('First token', f ? seconds(f.p50) : '–', 'p50', f ? [`p90 ${seconds(f.p90)}`, `p99 ${seconds(f.p99)}`] : ['no streams yet']),
    tile('Cost', usd(w.cost_usd), '', [`${usd(w.cost_usd / s * 3600)} an hour`, `cache saved ${usd(w.cache_saved_usd)}`]),
    tile('Trouble', percent(ours, w.requests), '',
      [`${short(w.errors.upstream)} upstream`, `${short(w.errors.gateway)} gateway`, `${short(w.retries)} retries`], ours * 10 > w.requests),
    tile('Refused by limits', short(w.rate_limit_hits), '',
      [`${short(w.errors.caller)} callers’ mistakes`, `${short(w.cancelled)} clients left`]));
}

/* --- charts ------------------------------------------------------------------------------ */

const charts = [
  { id: 'requests', name: 'Requests', unit: ' /s', bars: true, format: short, series: [
    { name: 'answered', color: 'blue', of: h => rate(h, minus(h.requests, h.failed_requests)) },
    { name: 'caller', color: 'faint', of: h => rate(h, h.caller_errors) },
    { name: 'limits', color: 'amber', of: h => rate(h, h.policy_errors) },
    { name: 'upstream', color: 'violet', of: h => rate(h, h.upstream_errors) },
    { name: 'gateway', color: 'red', of: h => rate(h, h.gateway_errors) }] },
  { id: 'latency', name: 'Whole answers', unit: '', format: seconds, series: [
    { name: 'p90', color: 'amber', of: h => h.answer_p90 },
    { name: 'p50', color: 'blue', of: h => h.answer_p50 },
    { name: 'first token', color: 'teal', of: h => h.first_token_p50 }] },
  { id: 'active', name: 'In progress', unit: '', bars: true, format: short, series: [
    { name: 'requests', color: 'blue', of: h => h.active_requests }] },
  { id: 'output', name: 'Output tokens', unit: ' /s', bars: true, format: short, series: [
    { name: 'output', color: 'violet', of: h => rate(h, h.output_tokens) }] },
  { id: 'prompt', name: 'Prompt tokens', unit: ' /s', bars: true, format: short, series: [
    { name: 'new', color: 'blue', of: h => rate(h, minus(h.input_tokens, h.cached_tokens)) },
    { name: 'from the cache', color: 'soft', of: h => rate(h, h.cached_tokens) }] },
  { id: 'cost', name: 'Cost', unit: ' /min', bars: true, format: usd, series: [
    { name: 'cost', color: 'teal', of: h => rate(h, h.cost_usd).map(n => n * 60) }] },
];

const rate = (h, values) => values.map((n, i) => n / h.seconds[i]);
const minus = (a, b) => a.map((n, i) => Math.max(n - b[i], 0));

/* The next of 1, 2, 2.5, 5, 10 ... that is not below n. */
function ceiling(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 2.5, 5, 10].map(f => f * power).find(v => v >= n * 0.9999);
}

function build(chart) {
  chart.legend = make('div', { class: 'legend' });
  chart.svg = draw('svg', { class: 'chart', tabindex: '0', role: 'img' });
  chart.at = null;
  chart.slots = SLOTS;
  $('charts').append(make('article', {}, make('div', { class: 'head' },
    make('h2', {}, chart.name), chart.legend), chart.svg));
  const point = x => {
    const box = chart.svg.getBoundingClientRect();
    moveTo(Math.floor((x - box.left) / box.width * chart.slots));
  };
  const moveTo = at => { setCross(at === null ? null : Math.min(Math.max(at, 0), chart.slots - 1)); };
  chart.svg.addEventListener('pointermove', e => point(e.clientX));
  chart.svg.addEventListener('pointerleave', () => moveTo(null));
  chart.svg.addEventListener('blur', () => moveTo(null));
  chart.svg.addEventListener('keydown', e => {
    const from = chart.at === null ? chart.slots : chart.at;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: chart.slots - 1, Escape: null }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    moveTo(to);
  });
  new ResizeObserver(() => stats && showChart(chart)).observe(chart.svg);
}

/* One moment is pointed at in all charts. */
function setCross(at) {
  for (const c of charts) { c.at = at; showChart(c); }
}

/* Of bars, those of which there are any. */
function showLegend(chart, values, at, ago) {
  const label = make('span', {}, at === null ? 'latest' : ago);
  chart.legend.replaceChildren(label, ...chart.series.map((s, i) => {
    if (chart.bars && i > 0 && !values[i].some(v => v > 0)) return '';
    const v = at === null ? values[i].at(-1) : values[i][at];
    const dot = make('i', { class: s.color });
    const text = v === null || v === undefined ? '–' : chart.format(v) + chart.unit;
    return make('span', {}, dot, s.name + ' ', make('b', {}, text));
  }));
}

function drawBars(chart, values, place, y) {
  const parts = [], n = values[0].length;
  for (let i = 0; i < n; i++) {
    let below = 0;
    chart.series.forEach((s, k) => {
      const v = values[k][i], top = y(below + v), height = y(below) - top;
      below += v;
      if (v > 0)
        parts.push(draw('rect', { class: 'ink ' + s.color, x: (place(i) + .5).toFixed(1), y: top.toFixed(1),
          width: Math.max(place(1) - place(0) - 1, 1).toFixed(1), height: Math.max(height, .6).toFixed(1) }));
    });
  }
  return parts;
}

/* A line breaks where nothing was measured; what stands alone is a dot. */
function drawLines(chart, values, place, y) {
  const parts = [], half = (place(1) - place(0)) / 2;
  chart.series.forEach((s, k) => {
    let path = '', pen = false;
    values[k].forEach((v, i) => {
      if (v === null) { pen = false; return; }
      const x = place(i) + half;
      if (!pen && (values[k][i + 1] ?? null) === null)
        parts.push(draw('circle', { class: 'ink ' + s.color, cx: x.toFixed(1), cy: y(v).toFixed(1), r: 1.6 }));
      path += `${pen ? 'L' : 'M'}${x.toFixed(1)} ${y(v).toFixed(1)}`;
      pen = true;
    });
    if (path) parts.push(draw('path', { class: 'ink ' + s.color, d: path }));
  });
  return parts;
}

const ago = s => s < 3 ? 'now' : s < 100 ? `${Math.round(s)} s ago` : `${Math.round(s / 60)} min ago`;

function showChart(chart) {
  const h = stats.history[isLong() ? 'hour' : 'minutes'];
  const values = chart.series.map(s => s.of(h).slice(-chart.slots)), n = values[0].length;
  const { width, height } = chart.svg.getBoundingClientRect();
  if (!width) return;
  const slots = chart.slots, bottom = height - 18, top = 14;
  const sums = chart.bars ? values[0].map((_, i) => values.reduce((a, v) => a + v[i], 0)) : values.flat();
  const most = Math.max(0, ...sums.filter(v => v !== null));
  const max = most > 0 ? ceiling(most) : 1;
  const place = i => (slots - n + i) * width / slots;
  const y = v => bottom - (bottom - top) * v / max;
  const step = h.step_seconds, cross = chart.at === null ? null : chart.at - (slots - n);
  const parts = [];
  for (const part of [0, .5, 1]) {
    const at = Math.round(y(max * part)) + .5;
    parts.push(draw('line', { class: 'grid', x1: 0, x2: width, y1: at, y2: at }));
    if (part && most > 0) parts.push(draw('text', { x: 0, y: at - 3 }, chart.format(max * part) + chart.unit));
  }
  for (const fifth of [0, 1, 2, 3, 4, 5])
    parts.push(draw('text', { x: width * fifth / 5, y: height - 4,
      'text-anchor': fifth === 0 ? 'start' : fifth === 5 ? 'end' : 'middle' },
    fifth === 5 ? 'now' : Math.round(slots * step * (5 - fifth) / 300) + ' min'));
  parts.push(...(chart.bars ? drawBars : drawLines)(chart, values, place, y));
  if (chart.at !== null) {
    const x = (chart.at + .5) * width / slots;
    parts.push(draw('line', { class: 'cross', x1: x, x2: x, y1: top, y2: bottom }));
  }
  chart.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  chart.svg.replaceChildren(...parts);
  showLegend(chart, values, cross, chart.at === null ? '' : ago((slots - 1 - chart.at) * step));
  chart.svg.setAttribute('aria-label', `${chart.name}: ${chart.legend.innerText}. Arrow keys point at a moment.`);
}

/* --- tables ------------------------------------------------------------------------------ */

/* columns: [title, class, row => text or element]. What is being selected is left alone. */
function fill(id, columns, rows, empty) {
  const table = $(id), chosen = document.getSelection();
  if (chosen && !chosen.isCollapsed && table.contains(chosen.anchorNode)) return;
  if (!rows.length) {
    table.replaceChildren(make('caption', { class: 'empty' }, empty));
    return;
  }
  const head = make('tr', {}, ...columns.map(([title, kind]) => make('th', { class: kind, scope: 'col' }, title)));
  const body = rows.map(row => make('tr', {}, ...columns.map(([, kind, show]) => {
    const content = show(row), cell = make('td', { class: kind }, content);
    if (kind === 'name') cell.title = cell.textContent;
    return cell;
  })));
  table.replaceChildren(make('thead', {}, head), make('tbody', {}, ...body));
}

function bar(n, of) {
  const inner = make('i'), outer = make('span', { class: 'bar', title: percent(n, of) }, inner);
  inner.style.width = of ? `${100 * n / of}%` : '0';
  return outer;
}

function budget(used) {
  return make('span', { class: used >= .95 ? 'spent' : used >= .75 ? 'policy' : '' }, orDash(used, n => percent(n, 1)));
}

function showClients(w) {
  const rows = [...w.clients].sort((a, b) => b.cost_usd - a.cost_usd || b.requests - a.requests);
  fill('clients', [
    ['Client', 'name', r => r.client],
    ['Requests', 'right', r => short(r.requests)],
    ['Failed', 'right', r => r.failed_requests ? percent(r.failed_requests, r.requests) : '–'],
    ['p90', 'right', r => seconds(r.answer_seconds?.p90)],
    ['Prompt', 'right', r => short(prompt(r.tokens))],
    ['Output', 'right', r => short(r.tokens.output)],
    ['Cost', 'right', r => usd(r.cost_usd)],
    ...rows.some(r => r.budget_used_ratio) ? [['Budget', 'right', r => budget(r.budget_used_ratio)]] : []], rows, 'No client has asked anything in this window.');
}

function showModels(w) {
  const rows = [...w.models].sort((a, b) => b.cost_usd - a.cost_usd || b.calls - a.calls);
  fill('models', [
    ['Model', 'name', r => r.model],
    ['Calls', 'right', r => short(r.calls)],
    ['Failed', 'right', r => r.failed_calls ? percent(r.failed_calls, r.calls) : '–'],
    ['Call p50', 'right', r => seconds(r.call_seconds?.p50)],
    ['First token', 'right', r => seconds(r.time_to_first_token_seconds?.p50)],
    ['Output', 'right', r => short(r.tokens.output)],
    ['Cost', 'right', r => usd(r.cost_usd)]], rows, 'No model was called in this window.');
}

function showErrors(w) {
  const rows = Object.entries(w.error_types).sort((a, b) => b[1] - a[1]);
  fill('errors', [
    ['Whose', '', ([type]) => make('span', { class: type.split('_')[0] }, type.split('_')[0])],
    ['What', 'name', ([type]) => type.slice(type.indexOf('_') + 1).replaceAll('_', ' ')],
    ['Requests', 'right', ([, n]) => short(n)],
    ['', '', ([, n]) => bar(n, w.failed_requests)]], rows, 'Nothing has failed in this window.');
}

const isGood = request => request.fault === 'nobody';

function showRecent() {
  fill('recent', [
    ['Ended', '', r => clock(r.ended)],
    ['Status', '', r => make('span', { class: isGood(r) ? '' : r.fault }, String(r.status || '–'))],
    ['Ending', '', r => make('span', { class: isGood(r) ? 'quiet' : r.fault },
      isGood(r) ? (r.stream ? 'streamed' : 'whole') : r.ending.toLowerCase().replaceAll('_', ' '))],
    ['Client', 'name', r => r.client || '–'],
    ['Model', 'name', r => r.model || '–'],
    ['Prompt', 'right', r => orDash(r.prompt_tokens, short)],
    ['Output', 'right', r => orDash(r.output_tokens, short)],
    ['First token', 'right', r => seconds(r.time_to_first_token_seconds)],
    ['Duration', 'right', r => seconds(r.duration_seconds)],
    ['Cost', 'right', r => orDash(r.cost_usd, usd)],
    ['Request', 'name', r => make('code', {}, r.id)]], stats.recent || [],
  stats.recent ? 'No request has ended yet.' : 'Single requests are shown to keys with the right admin.');
}

/* --- the page ---------------------------------------------------------------------------- */

const chosenWindow = () => document.querySelector('#windows input:checked').value;
const isLong = () => ['1h', 'total'].includes(chosenWindow());

const STATES = { idle: 'Claude was not called in the last minute', healthy: 'No call to Claude failed in the last minute',
  degraded: 'Some calls to Claude failed in the last minute', failing: 'Half of the calls to Claude or more failed in the last minute' };

function setState(state) {
  $('state').textContent = state;
  $('state').className = 'pill ' + state;
  $('state').title = STATES[state] || '';
}

function notices() {
  const p = stats.processes, all = [];
  if (!p.last_reload_successful) all.push('The last reload of the configuration failed; the one before it is in force.');
  if (p.redis_up_workers !== null && p.redis_up_workers < p.workers)
    all.push(`Redis is away for ${p.workers - p.redis_up_workers} of ${p.workers} workers.`);
  const u = stats.upstream;
  if (u.keys_up < u.keys) all.push(`${u.keys - u.keys_up} of ${u.keys} keys of Claude rest: refused, or told to wait.`);
  if (p.log_lines_dropped) all.push(`${short(p.log_lines_dropped)} log lines were dropped because nobody read them.`);
  return all.join(' ');
}

function show() {
  const w = stats.windows[chosenWindow()], p = stats.processes;
  $('sign-in').hidden = true;
  $('page').hidden = false;
  $('leave').hidden = !key;
  setState(stats.upstream.state);
  $('facts').textContent = `${stats.version} · up ${span(stats.uptime_seconds)} · ${p.workers} worker${p.workers === 1 ? '' : 's'}`
    + (p.worker_restarts ? ` · ${p.worker_restarts} restarted` : '');
  $('notice').textContent = notices();
  $('notice').hidden = !$('notice').textContent;
  showTiles(w);
  charts.forEach(showChart);
  showClients(w);
  showModels(w);
  showErrors(w);
  showRecent();
}

function askForKey(status) {
  clearTimeout(timer);
  const had = key;
  key = null;
  sessionStorage.removeItem(KEY);
  stats = null;
  $('page').hidden = true;
  $('leave').hidden = true;
  $('notice').hidden = true;
  setState('signed out');
  $('refusal').textContent = !had ? '' : status === 403 ? 'This key has neither the right admin nor stats.'
    : status === 429 ? 'Too many keys were wrong: try again later.' : 'This key is not known here.';
  if ($('sign-in').hidden) {
    $('sign-in').hidden = false;
    $('key').focus();
  }
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden) return; /* visibilitychange comes back here */
  try {
    const headers = key ? { Authorization: 'Bearer ' + key } : {};
    const response = await fetch('/stats', { headers, cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) });
    if ([400, 401, 403].includes(response.status) || (response.status === 429 && !stats)) {
      askForKey(response.status);
      return;
    }
    if (!response.ok) throw new Error(`/stats answers ${response.status}`);
    const fresh = await response.json();
    if (!paused || !stats) {
      stats = fresh;
      show();
    }
  } catch (e) {
    setState('offline');
    $('notice').textContent = `The server cannot be read: ${e.message}. Trying again.`;
    $('notice').hidden = false;
  }
  timer = setTimeout(poll, EVERY_MS);
}

function pause() {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', paused);
  $('pause').textContent = paused ? 'Paused' : 'Pause';
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  localStorage.setItem('ccproxy-theme', root.dataset.theme);
}

function start() {
  const chosen = localStorage.getItem('ccproxy-theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
  charts.forEach(build);
  $('windows').addEventListener('change', () => stats && show());
  $('pause').addEventListener('click', pause);
  $('theme').addEventListener('click', theme);
  $('leave').addEventListener('click', () => { key = null; askForKey(0); });
  $('sign-in').addEventListener('submit', e => {
    e.preventDefault();
    key = $('key').value.trim();
    $('key').value = '';
    sessionStorage.setItem(KEY, key);
    poll();
  });
  document.addEventListener('visibilitychange', poll);
  document.addEventListener('keydown', e => {
    if (e.target.matches('input') && e.target.type === 'password' || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === 'p') pause();
    if (e.key === 't') theme();
  });
  poll();
}

start();
