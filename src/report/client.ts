/**
 * The script of the page: unpacks plotly, draws the figures one after the other, then folds the sections; keeps figures
 * readable on a phone and on paper, saves them. Without it everything is open. Plain JavaScript without a build step; no network.
 */
export const CLIENT_SCRIPT = String.raw`
(async () => {
  'use strict';
  const status = document.getElementById('plot-status');
  const fail = (reason) => {
    status.textContent = 'The figures cannot be drawn here (' + reason + '). The table under each figure has its numbers.';
    status.hidden = false;
    for (const d of document.querySelectorAll('.figure details')) d.open = true;
    for (const p of document.querySelectorAll('.plot')) p.hidden = true;
    for (const b of document.querySelectorAll('.save button')) b.hidden = true;
  };
  if (typeof DecompressionStream === 'undefined') return fail('this browser is too old to unpack the plot library');
  try {
    const packed = Uint8Array.from(atob(document.getElementById('plotly-gzip').textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    const script = document.createElement('script');
    script.textContent = await new Response(stream).text();
    document.head.appendChild(script);
  } catch (error) {
    return fail(String(error));
  }
  if (!window.Plotly) return fail('the plot library did not start');
  let printing = false;
  const narrow = () => printing || window.innerWidth < 620;
  const merge = (base, over) => {
    const out = { ...base };
    for (const key of Object.keys(over)) {
      const both = out[key] && over[key] && typeof out[key] === 'object' && typeof over[key] === 'object' && !Array.isArray(over[key]);
      out[key] = both ? merge(out[key], over[key]) : over[key];
    }
    return out;
  };
  /** Widths on paper in px: beside the drawing of the first page, and in two columns. */
  const paperWidth = (plot) => (plot.closest('.first') && !plot.closest('.single') ? 390 : plot.closest('.single') ? 660 : 325);
  const layoutOf = (spec, plot) => {
    const small = narrow();
    const axis = { automargin: true, gridcolor: '#e3e7ec', linecolor: '#8a939e', zerolinecolor: '#b9c0c9', title: { standoff: 8 } };
    const base = {
      font: { family: 'system-ui, -apple-system, Segoe UI, Roboto, sans-serif', size: printing ? 9 : small ? 11 : 13, color: '#1c2430' },
      paper_bgcolor: '#ffffff', plot_bgcolor: '#ffffff',
      margin: { l: small ? 8 : 16, r: small ? 12 : 24, t: 12, b: small ? 8 : 12, pad: 2 },
      height: printing ? Math.round(0.66 * spec.phoneHeight) : small ? spec.phoneHeight : spec.height,
      legend: { orientation: 'h', yanchor: 'bottom', y: 1.02, xanchor: 'left', x: 0, font: { size: printing ? 8 : small ? 10 : 12 } },
      hoverlabel: { align: 'left', bgcolor: '#ffffff', bordercolor: '#8a939e', font: { size: small ? 10 : 12, color: '#1c2430' } },
      dragmode: false,
      ...(printing ? { width: paperWidth(plot), autosize: false } : {}),
    };
    const layout = merge(base, spec.layout);
    for (const key of Object.keys(layout)) if (/^[xy]axis\d*$/.test(key)) layout[key] = merge(axis, layout[key]);
    if (small && spec.layout.phone) Object.assign(layout, merge(layout, spec.layout.phone));
    delete layout.phone;
    return layout;
  };
  const config = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };
  const drawn = [];
  for (const figure of document.querySelectorAll('.figure')) {
    const spec = JSON.parse(figure.querySelector('script.spec').textContent);
    const plot = figure.querySelector('.plot');
    try {
      await window.Plotly.newPlot(plot, spec.data, layoutOf(spec, plot), config);
      drawn.push([plot, spec]);
    } catch (error) {
      plot.hidden = true;
      figure.querySelector('details').open = true;
      console.error('figure ' + figure.id + ': ' + error);
    }
    await new Promise((done) => setTimeout(done));
  }
  const redraw = () => {
    for (const [plot, spec] of drawn) window.Plotly.react(plot, spec.data, layoutOf(spec, plot), config);
  };
  const fit = (within) => {
    for (const [plot] of drawn) if (within.contains(plot) && plot.offsetParent) window.Plotly.Plots.resize(plot);
  };
  const sections = [...document.querySelectorAll('details.section')];
  /** Opens what an address points to, and what it lies in. */
  const reveal = () => {
    let target = null;
    try { target = document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { return; }
    if (!target) return;
    for (const d of sections) if (d.contains(target)) d.open = true;
    target.scrollIntoView();
  };
  for (const d of sections) {
    d.open = !d.hasAttribute('data-fold');
    d.addEventListener('toggle', () => { if (d.open && !printing) fit(d); });
  }
  for (const link of document.querySelectorAll('nav a[href^="#"]')) {
    link.addEventListener('click', () => setTimeout(reveal));
  }
  window.addEventListener('hashchange', reveal);
  for (const button of document.querySelectorAll('button[data-sections]')) {
    button.addEventListener('click', () => {
      for (const d of sections) d.open = button.dataset.sections === 'open';
    });
  }
  for (const button of document.querySelectorAll('.save button')) {
    button.addEventListener('click', () => {
      const figure = button.closest('.figure');
      const found = drawn.find(([plot]) => figure.contains(plot));
      if (!found) return;
      const [plot, spec] = found;
      const format = button.dataset.format;
      window.Plotly.downloadImage(plot, {
        format, filename: figure.dataset.name, width: plot.clientWidth, height: narrow() ? spec.phoneHeight : spec.height,
        scale: format === 'png' ? 2 : 1,
      });
    });
  }
  let wasNarrow = narrow();
  window.addEventListener('resize', () => {
    if (printing || narrow() === wasNarrow) return;
    wasNarrow = narrow();
    redraw();
  });
  let wasOpen = [];
  window.addEventListener('beforeprint', () => {
    printing = true;
    wasOpen = [...document.querySelectorAll('details')].filter((d) => !d.closest('.figure')).map((d) => [d, d.open]);
    for (const [d] of wasOpen) d.open = true;
    redraw();
  });
  window.addEventListener('afterprint', () => {
    printing = false;
    for (const [d, open] of wasOpen) d.open = open;
    for (const [plot, spec] of drawn) {
      window.Plotly.react(plot, spec.data, { ...layoutOf(spec, plot), width: null, autosize: true }, config);
    }
  });
  reveal();
  document.body.dataset.figures = String(drawn.length);
})();
`;
