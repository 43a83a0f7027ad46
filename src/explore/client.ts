/**
 * The script of the explorer's page: unpacks model and files, draws the controls, and prices anew at every move. The state of the
 * controls is the page's fragment. Plain JavaScript without a build step; no network.
 */
export const EXPLORER_CLIENT = String.raw`
(async () => {
  'use strict';
  const $ = (id) => document.getElementById(id);
  const status = $('explorer-status');
  const unpack = async (id) => {
    const packed = Uint8Array.from(atob($(id).textContent.trim()), (c) => c.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
  };
  let data;
  try {
    data = JSON.parse(await unpack('explorer-data'));
    const script = document.createElement('script');
    script.textContent = (await unpack('explorer-script')) + ';window.onefetExplorer = onefetExplorer;';
    document.head.appendChild(script);
    window.onefetExplorer.setFiles(window.onefetExplorer.filesOf(data.files));
  } catch (error) {
    status.textContent = 'The explorer cannot start in this browser: ' + error;
    status.hidden = false;
    return;
  }
  const explorer = window.onefetExplorer.createExplorer({ accuracy: data.accuracy, runs: data.runs });
  const element = (name, properties, children) => {
    const made = Object.assign(document.createElement(name), properties);
    for (const child of children || []) made.append(child);
    return made;
  };
  const svg = (name, attributes, text) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // Numbers for people.
  const { formatSi, plain } = window.onefetExplorer;
  /** All digits before the point. */
  const whole = (value) => (value >= 100 ? Math.round(value).toLocaleString('en-US') : plain(value));

  // State and fragment.
  const designOf = (name) => data.designs.find((design) => design.name === name);
  const controlsOf = (state) => {
    const placed = designOf(state.design).nodes[state.node];
    return typeof placed === 'string' ? [] : placed;
  };
  const startStops = (state) => Object.fromEntries(controlsOf(state).map((control) => [control.id, control.own]));
  const near = (values, value) => values.reduce((best, one) => (Math.abs(Math.log(one / value)) < Math.abs(Math.log(best / value)) ? one : best), values[0]);
  const readFragment = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const state = { ...data.start };
    if (designOf(asked.get('design'))) state.design = asked.get('design');
    if (data.nodes.includes(asked.get('node'))) state.node = asked.get('node');
    if (data.models.includes(asked.get('model'))) state.model = asked.get('model');
    for (const key of ['contextTokens', 'users']) {
      const value = Number(asked.get(key));
      if (value > 0) state[key] = near(key === 'users' ? data.users : data.contexts, value);
    }
    const stops = startStops(state);
    for (const control of controlsOf(state)) {
      const at = control.stops.findIndex((stop) => stop.label === asked.get(control.id));
      if (at >= 0) stops[control.id] = at;
    }
    return { state, stops };
  };
  const writeFragment = () => {
    const said = new URLSearchParams();
    for (const key of ['design', 'node', 'contextTokens', 'users', 'model']) if (state[key] !== data.start[key]) said.set(key, state[key]);
    for (const control of controlsOf(state)) if (stops[control.id] !== control.own) said.set(control.id, control.stops[stops[control.id]].label);
    const fragment = said.toString();
    history.replaceState(null, '', fragment ? '#' + fragment : location.pathname + location.search);
  };
  let { state, stops } = readFragment();
  const asked = () => {
    const settings = {};
    for (const control of controlsOf(state)) {
      const at = stops[control.id];
      if (at !== control.own) Object.assign(settings, control.stops[at].settings);
    }
    return { ...state, settings };
  };

  // Controls.
  const controls = $('explorer-controls');
  const select = (id, label, options, value, change) => {
    const box = element('select', { id: 'control-' + id });
    for (const { name, disabled } of options) box.append(element('option', { value: name, textContent: name + (disabled ? ' (not at this node)' : ''), disabled: !!disabled, selected: name === value }));
    box.addEventListener('change', () => change(box.value));
    return element('label', { className: 'control' }, [element('span', { className: 'name', textContent: label }), box]);
  };
  const slider = (id, label, texts, at, own, change) => {
    const shown = element('output', { textContent: texts[at] + (at === own ? ' (default)' : '') });
    const input = element('input', { type: 'range', id: 'control-' + id, min: 0, max: texts.length - 1, step: 1, value: at });
    input.setAttribute('aria-valuetext', texts[at]);
    input.addEventListener('input', () => {
      const now = Number(input.value);
      shown.textContent = texts[now] + (now === own ? ' (default)' : '');
      input.setAttribute('aria-valuetext', texts[now]);
      change(now);
    });
    return element('label', { className: 'control' }, [element('span', { className: 'name' }, [label + ': ', shown]), input]);
  };
  const drawControls = () => {
    const nodes = designOf(state.design).nodes;
    const placed = [
      select('design', 'Design', data.designs.map(({ name }) => ({ name })), state.design, (name) => {
        state = { ...state, design: name, node: typeof designOf(name).nodes[state.node] === 'string' ? data.start.node : state.node };
        stops = startStops(state);
        drawControls();
        update();
      }),
      select('node', 'Node, nm', data.nodes.map((name) => ({ name, disabled: typeof nodes[name] === 'string' })), state.node, (name) => {
        // What was moved stays; what was the design's own becomes what is its own there.
        const moved = controlsOf(state).filter(({ id, own }) => stops[id] !== own).map(({ id }) => [id, stops[id]]);
        state = { ...state, node: name };
        stops = startStops(state);
        for (const [id, at] of moved) if (id in stops) stops[id] = at;
        drawControls();
        update();
      }),
      ...controlsOf(state).map((control) =>
        slider(control.id, control.label, control.stops.map(({ label, refused }) => label + (refused ? ': not counted' : '')), stops[control.id], control.own, (at) => {
          stops[control.id] = at;
          update();
        }),
      ),
      slider('contextTokens', 'Tokens of context', data.contexts.map(whole), data.contexts.indexOf(state.contextTokens), data.contexts.indexOf(data.start.contextTokens), (at) => {
        state = { ...state, contextTokens: data.contexts[at] };
        update();
      }),
      slider('users', 'Users at a time', data.users.map(String), data.users.indexOf(state.users), 0, (at) => {
        state = { ...state, users: data.users[at] };
        update();
      }),
      ...(data.models.length > 1 ? [select('model', 'Accuracy seen on', data.models.map((name) => ({ name })), state.model, (name) => {
        state = { ...state, model: name };
        update();
      })] : []),
    ];
    controls.replaceChildren(...placed);
  };

  // Results.
  const card = (id, value, detail, band) => {
    $(id + '-value').textContent = value;
    $(id + '-detail').textContent = detail;
    if (band !== undefined) $(id + '-band').textContent = band;
  };
  const colourOf = new Map();
  const colour = (name) => {
    if (!colourOf.has(name)) colourOf.set(name, data.colours[colourOf.size % data.colours.length]);
    return colourOf.get(name);
  };
  const stack = (id, lines, unit) => {
    const total = lines.reduce((sum, { value }) => sum + value, 0);
    const sorted = [...lines].filter(({ value }) => value > 0).sort((a, b) => b.value - a.value);
    const shown = sorted.slice(0, 7);
    const rest = sorted.slice(7).reduce((sum, { value }) => sum + value, 0);
    const parts = [...shown.map(({ name, value, formula }) => ({ name, value, formula })), ...(rest > 0 ? [{ name: 'rest', value: rest, formula: '' }] : [])];
    const text = (value) => (unit === 'mm2' ? whole(value) + ' mm²' : formatSi(value, unit));
    $(id + '-bar').replaceChildren(...parts.map(({ name, value, formula }) => {
      const part = element('span', { title: name + ': ' + text(value) + (formula ? '\n' + formula : '') });
      part.style.width = (100 * value) / total + '%';
      part.style.background = name === 'rest' ? '#c3c9d1' : colour(name);
      return part;
    }));
    $(id + '-legend').replaceChildren(...parts.map(({ name, value, formula }) => {
      const dot = element('i', {});
      dot.style.background = name === 'rest' ? '#c3c9d1' : colour(name);
      return element('li', { title: formula }, [dot, element('span', { textContent: name }), element('b', { textContent: text(value) + ', ' + Math.round((100 * value) / total) + ' %' })]);
    }));
  };
  const table = (lines, unit) => element('table', {}, [
    element('thead', {}, [element('tr', {}, ['Part', unit === 'mm2' ? 'mm²' : unit, 'Formula', 'Source', 'Provenance'].map((textContent) => element('th', { scope: 'col', textContent })))]),
    element('tbody', {}, lines.map(({ name, value, formula, source, tag }) => element('tr', {}, [
      element('th', { scope: 'row', textContent: name }),
      element('td', { className: 'number', textContent: unit === 'mm2' ? whole(value) : formatSi(value, unit) }),
      element('td', { className: 'formula', textContent: formula }), element('td', { textContent: source }), element('td', { textContent: tag }),
    ]))),
  ]);

  // Measured points beside this one: one key at a time.
  const drawAlong = (answer) => {
    const plots = controlsOf(state).flatMap((control) => {
      const found = explorer.along(answer.design, control.stops, state.model);
      if (found.filter(Boolean).length < 2) return [];
      const kls = found.flatMap((point) => (point ? [point.kl, ...(point.ci95 || [])] : [])).filter((kl) => kl > 0);
      const [least, most] = [Math.log10(Math.min(...kls)) - 0.05, Math.log10(Math.max(...kls)) + 0.05];
      const [w, h, left, right, top, bottom] = [300, 150, 46, 12, 10, 34];
      const x = (i) => left + ((i + 0.5) * (w - left - right)) / control.stops.length;
      const y = (kl) => h - bottom - ((Math.log10(kl) - least) / (most - least)) * (h - top - bottom);
      const picture = svg('svg', { viewBox: '0 0 ' + w + ' ' + h, role: 'img', 'aria-label': 'KL against ' + control.label });
      const ticks = [10 ** least, 10 ** ((least + most) / 2), 10 ** most];
      for (const kl of ticks) {
        picture.append(svg('line', { x1: left, x2: w - right, y1: y(kl), y2: y(kl), stroke: '#e3e7ec' }));
        picture.append(svg('text', { x: left - 6, y: y(kl) + 4, 'text-anchor': 'end', 'font-size': 11, fill: '#4b5563' }, plain(kl, 2)));
      }
      control.stops.forEach(({ label }, i) => {
        picture.append(svg('text', { x: x(i), y: h - 18, 'text-anchor': 'middle', 'font-size': control.stops.length > 6 ? 9 : 10, fill: i === stops[control.id] ? '#1c2430' : '#4b5563', 'font-weight': i === stops[control.id] ? 700 : 400 }, label.replace("the cell's own", 'own').replace(' um', '')));
        const point = found[i];
        if (!point || !(point.kl > 0)) return;
        const here = i === stops[control.id];
        const dot = svg('g', {});
        dot.append(svg('title', {}, label + ': KL ' + plain(point.kl, 3) + (point.ci95 ? ' (' + plain(point.ci95[0], 2) + ' to ' + plain(point.ci95[1], 2) + ', ' + point.covers + ')' : '')));
        if (point.ci95 && point.ci95[0] > 0) dot.append(svg('line', { x1: x(i), x2: x(i), y1: y(point.ci95[0]), y2: y(point.ci95[1]), stroke: data.colours[here ? 1 : 0], 'stroke-width': 2 }));
        dot.append(svg('circle', { cx: x(i), cy: y(point.kl), r: here ? 6 : 4, fill: data.colours[here ? 1 : 0] }));
        picture.append(dot);
      });
      picture.append(svg('text', { x: (left + w - right) / 2, y: h - 3, 'text-anchor': 'middle', 'font-size': 11, fill: '#1c2430' }, control.label));
      return [element('div', {}, [picture])];
    });
    $('along').replaceChildren(...plots);
    $('along-note').textContent = plots.length > 0
      ? 'KL in nats a prediction (log scale) at the measured neighbours of this design, one control at a time; lines are 95 % intervals; orange is this design.'
      : 'No neighbour of this design was measured.';
  };
  const drawAccuracy = (answer) => {
    const { accuracy } = answer;
    if (!accuracy) return card('kl', 'not measured', 'no design of this fabric ran on ' + state.model);
    const { point, differences } = accuracy;
    const seen = point.model + ', ' + whole(point.predictions) + ' predictions, ' + point.chips + (point.chips === 1 ? ' chip' : ' chips');
    const interval = point.ci95 ? plain(point.ci95[0], 2) + ' to ' + plain(point.ci95[1], 2) + ' over ' + point.covers : 'no interval';
    if (differences.length === 0) return card('kl', plain(point.kl, 3) + ' nats', 'KL to the digital model, perplexity x ' + point.perplexityRatio.toFixed(3) + '; ' + seen, interval);
    const listed = differences.slice(0, 3).map(({ key, asked: a, measured }) => key + ' ' + measured + ' in place of ' + a).join(', ');
    card('kl', 'not measured', 'nearest measured, with ' + listed + (differences.length > 3 ? ' and ' + (differences.length - 3) + ' more keys' : '') + ': ' + plain(point.kl, 3) + ' nats; ' + seen, interval);
  };
  let waiting;
  const update = () => {
    writeFragment();
    const results = $('explorer-results');
    clearTimeout(waiting);
    const now = asked();
    let answer;
    try {
      answer = explorer.answer(now);
    } catch (error) {
      status.textContent = 'Not priced: ' + error.message + (error.hint ? '. ' + error.hint : '');
      status.hidden = false;
      results.classList.add('stale');
      return;
    }
    status.hidden = true;
    results.classList.remove('stale');
    const { cost, load } = answer;
    const many = load.users > 1 ? ', ' + load.users + ' users' : '';
    card('energy', formatSi(cost.perTokenJ, 'J'), 'a token of one user', '…');
    card('load', formatSi(load.perTokenJ, 'J'), 'a token, ' + load.users + (load.users === 1 ? ' user' : ' users') + (state.users > load.users ? ' (all whose caches are held)' : ''), whole(load.tokensPerSecond) + ' tokens/s together');
    card('speed', whole(cost.tokensPerSecondPerUser), 'tokens/s of one user', '…');
    card('area', whole(cost.areaMm2) + ' mm²', cost.dies + (cost.dies === 1 ? ' die' : ' dies') + ' of the reticle limit', '…');
    card('full', whole(cost.tokensPerSecondAggregate), 'tokens/s of a full pipeline', formatSi(cost.perTokenAggregateJ, 'J') + ' a token, ' + whole(cost.powerW) + ' W');
    card('binds', load.binding, 'binds with ' + load.users + (load.users === 1 ? ' user' : ' users'), 'full pipeline: ' + cost.binding);
    card('price', '…', '$ per million tokens, full pipeline', '');
    drawAccuracy(answer);
    stack('energy', cost.energyJ, 'J');
    stack('areas', cost.areaLinesMm2, 'mm2');
    stack('time', cost.latencyS, 's');
    drawAlong(answer);
    $('command').textContent = answer.command;
    $('warnings').replaceChildren(...answer.warnings.map((text) => element('li', { textContent: text })));
    $('source').textContent = answer.source;
    $('lines').replaceChildren(...[[cost.energyJ, 'J'], [cost.areaLinesMm2, 'mm2'], [cost.latencyS, 's']].map(([lines, unit]) => element('div', { className: 'table' }, [table(lines, unit)])));
    results.dataset.state = JSON.stringify(now);
    waiting = setTimeout(() => {
      const { bands, price } = explorer.bands(now);
      const band = (id, { low, high }, text) => { $(id + '-band').textContent = text(low) + ' to ' + text(high); };
      band('energy', bands.perTokenJ, (v) => formatSi(v, 'J'));
      band('speed', bands.tokensPerSecondPerUser, whole);
      band('area', bands.areaMm2, whole);
      if (typeof price === 'string') card('price', 'none', price, '');
      else card('price', '$' + plain(price.mid, 2), 'per million tokens, full pipeline', '$' + plain(price.low, 2) + ' to $' + plain(price.high, 2));
      results.dataset.bands = results.dataset.state;
    }, 150);
  };
  $('copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      $('copy').textContent = 'Copied';
    } catch {
      $('copy').textContent = 'Copy the address bar';
    }
    setTimeout(() => { $('copy').textContent = 'Copy address'; }, 1500);
  });
  $('reset').addEventListener('click', () => {
    state = { ...data.start };
    stops = startStops(state);
    drawControls();
    update();
  });
  window.addEventListener('hashchange', () => {
    ({ state, stops } = readFragment());
    drawControls();
    update();
  });
  window.onefetPage = { explorer, asked };
  for (const section of document.querySelectorAll('details.section[data-fold]')) section.open = false;
  drawControls();
  update();
})();
`;
