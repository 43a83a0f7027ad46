/**
 * The script of the page: unpacks plotly, draws the figures one after the other, keeps them readable on a phone and on
 * paper. Plain JavaScript without a build step; no network.
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
  const narrow = () => window.innerWidth < 620;
  const merge = (base, over) => {
    const out = { ...base };
    for (const key of Object.keys(over)) {
      const both = out[key] && over[key] && typeof out[key] === 'object' && typeof over[key] === 'object' && !Array.isArray(over[key]);
      out[key] = both ? merge(out[key], over[key]) : over[key];
    }
    return out;
  };
  const layoutOf = (spec) => {
    const small = narrow();
    const axis = { automargin: true, gridcolor: '#e3e7ec', linecolor: '#8a939e', zerolinecolor: '#b9c0c9', title: { standoff: 8 } };
    const base = {
      font: { family: 'system-ui, -apple-system, Segoe UI, Roboto, sans-serif', size: small ? 11 : 13, color: '#1c2430' },
      paper_bgcolor: '#ffffff', plot_bgcolor: '#ffffff',
      margin: { l: small ? 8 : 16, r: small ? 12 : 24, t: 12, b: small ? 8 : 12, pad: 2 },
      height: small ? spec.phoneHeight : spec.height,
      legend: { orientation: 'h', yanchor: 'bottom', y: 1.02, xanchor: 'left', x: 0, font: { size: small ? 10 : 12 } },
      hoverlabel: { align: 'left', bgcolor: '#ffffff', bordercolor: '#8a939e', font: { size: small ? 10 : 12, color: '#1c2430' } },
      dragmode: false,
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
      await window.Plotly.newPlot(plot, spec.data, layoutOf(spec), config);
      drawn.push([plot, spec]);
    } catch (error) {
      plot.hidden = true;
      figure.querySelector('details').open = true;
      console.error('figure ' + figure.id + ': ' + error);
    }
    await new Promise((done) => setTimeout(done));
  }
  let wasNarrow = narrow();
  window.addEventListener('resize', () => {
    if (narrow() === wasNarrow) return;
    wasNarrow = narrow();
    for (const [plot, spec] of drawn) window.Plotly.react(plot, spec.data, layoutOf(spec), config);
  });
  window.addEventListener('beforeprint', () => {
    for (const [plot] of drawn) window.Plotly.relayout(plot, { width: 600, autosize: false });
  });
  window.addEventListener('afterprint', () => {
    for (const [plot, spec] of drawn) {
      window.Plotly.relayout(plot, { width: null, autosize: true });
      window.Plotly.react(plot, spec.data, layoutOf(spec), config);
    }
  });
  document.body.dataset.figures = String(drawn.length);
})();
`;
