"""Energy, area and time of Llama 3.1 8B on each fabric and on a GPU, by hand: from a copy of the
constants of spice/planar32lp/cost.yaml (src/testing/cost-constants-by-hand.json) and the calibrated circuits alone, without
this project's code. 1,024 tokens of context, shipped designs. Prints what src/cost/by-hand.test.ts holds.

    python3 experiments/cost-by-hand.py
"""
import json, math, os
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
C = json.load(open(os.path.join(ROOT, 'src/testing/cost-constants-by-hand.json')))
def c(name):
    group, key = name.split('.')
    return C[group][key]['value']
def circuit(name):
    return json.load(open(os.path.join(ROOT, f'calibration/planar32lp/{name}.json')))

# Llama 3.1 8B: 32 blocks of q 4096x4096, k and v 1024x4096, o 4096x4096, gate and up 14336x4096, down 4096x14336.
L, D, F, V, HEADS, KV, HD, CTX = 32, 4096, 14336, 128256, 32, 8, 128, 1024
MATS = [(D, D), (KV * HD, D), (KV * HD, D), (D, D), (F, D), (F, D), (D, F)]
W = L * sum(n * k for n, k in MATS)
SUMS = L * sum(n * math.ceil(k / 256) for n, k in MATS)
INPUTS = L * sum(k for _, k in MATS)
OUTPUTS = L * sum(n for n, _ in MATS)
HEAD = V * D
f = c('digital.clockHz')

def chip(own_area, own_energy, own_latency, side_mm2, gated, silicon, unclocked=None, traffic=None, stage=0):
    """stage: seconds after which the slowest part of the fabric takes its next token. own_*: of the fabric, unclocked: of it what no clock feeds. traffic: input bits, and result bits times mm. gated: [(mm2, seconds on)] of it. silicon: mm2 of the fabric by kind that is never off."""
    kv_bytes = 2 * L * KV * HD * CTX * 2
    sram = lambda b: b * 8 * c('memory.sramCellUm2') / c('memory.sramArrayEfficiency') / 1e6
    rom = lambda bits: bits / c('memory.romBitsPerMm2')
    area = dict(own_area)
    area['vector-units'] = L * c('layout.vectorUnitMm2PerLayer')
    area['attention-units'] = L * c('digital.attentionMacsPerCycle') * c('layout.attentionMacUm2') / 1e6
    area['kv-sram'] = sram(kv_bytes)
    area['embedding-rom'] = rom(V * D * c('memory.embeddingBits'))
    area['head-rom'] = rom(HEAD * c('digital.headWeightBits'))
    area['head-macs'] = c('digital.headMacsPerCycle') * c('layout.macUm2') / 1e6
    used = sum(area.values())
    area['overhead'] = used * c('layout.overheadShare')
    mm2 = sum(area.values())
    dies = max(1, math.ceil(mm2 / c('layout.reticleMm2')))
    # Time of one user.
    macros = math.ceil(kv_bytes / L / c('memory.kvMacroBytes'))
    read_s = kv_bytes / L / (macros * c('memory.kvPortBytesPerCycle')) / f
    mac_s = 2 * HEADS * HD * CTX / c('digital.attentionMacsPerCycle') / f
    attention_s = max(read_s, mac_s)
    # The ground: dies of an aspect, columns filled up and down; a layer is all but embedding and head.
    layer_mm2 = (used - area['embedding-rom'] - area['head-rom'] - area['head-macs']) * mm2 / used / L
    wide = math.sqrt(mm2 / dies * c('layout.dieAspect'))
    column = wide / max(1, round(wide / math.sqrt(layer_mm2)))
    half, snake = (column + layer_mm2 / column) / 2, mm2 / column
    head_s = HEAD / c('digital.headMacsPerCycle') / f
    t = own_latency + L * attention_s + (L * c('digital.vectorDepthCyclesPerLayer') + c('digital.headDepthCycles')) / f
    t += (129 * 2 * half + snake) * c('wire.delaySPerMm') + (dies - 1) * c('wire.dieLinkS') + head_s
    # Energy.
    norms = (L * 2 * D + D) * 3
    ops = norms + L * (HEADS + KV) * HD * 3 + L * HEADS * CTX * 4 + L * F * 5 + L * 2 * D
    e = dict(own_energy)
    e['vector-units'] = ops * c('digital.vectorOpJ')
    e['attention'] = 2 * L * HEADS * HD * CTX * c('digital.attentionMacJ')
    e['kv-sram'] = kv_bytes * c('memory.sramReadJPerByte') + kv_bytes / CTX * c('memory.sramWriteJPerByte')
    e['head'] = HEAD * (c('digital.macJ') + c('memory.romReadJPerByte') * c('digital.headWeightBits') / 8)
    bank_side = math.sqrt(side_mm2 / L)
    input_bits, result_bit_mm = traffic or (INPUTS * 8, OUTPUTS * 16 * bank_side)
    e['wires'] = (input_bits * half + result_bit_mm + D * 16 * snake) * c('wire.energyJPerBitMm')
    e['wires'] += (dies - 1) * D * 16 * c('wire.dieLinkJPerBit')
    clocked = sum(e.values())
    s = c('digital.clockShare')
    e['clock'] = clocked * s / (1 - s)
    e.update(unclocked or {})
    hot = 2 ** ((c('power.junctionK') - c('power.leakageReferenceK')) / c('power.leakageDoublingK'))
    share = c('power.gatedLeakageShare')
    logic = c('power.logicLeakageWPerMm2') * hot
    steady = hot * (silicon.get('rom', 0) * c('power.romLeakageWPerMm2') + silicon.get('analog', 0) * c('power.analogLeakageWPerMm2'))
    steady += hot * c('power.romLeakageWPerMm2') * (area['embedding-rom'] + area['head-rom'])
    steady += hot * c('power.sramLeakageWPerMm2') * area['kv-sram'] + logic * area['vector-units']
    gates = gated + [(area['attention-units'], attention_s), (area['head-macs'], head_s)]
    steady += sum(logic * a * share for a, _ in gates)
    e['leakage'] = steady * t + sum(logic * a * (1 - share) * on for a, on in gates)
    e['power-switches'] = sum(a for a, _ in gates) * c('power.railFPerMm2') * c('power.logicSupplyV') ** 2
    e['regulator'] = sum(e.values()) * (1 / c('power.regulatorEfficiency') - 1)
    # A full pipeline: users whose caches fit beside the rest, and the lowest of four rates.
    joules, regulated = sum(e.values()), 1 / c('power.regulatorEfficiency')
    dynamic = joules - steady * regulated * t
    user_mm2 = area['kv-sram'] * (1 + c('layout.overheadShare'))
    users = 1 + math.floor((dies * c('layout.reticleMm2') - mm2) / user_mm2)
    watts = dies * c('power.limitWPerDie') - steady * regulated
    rate = min(1 / max(stage, head_s), users / t, 1 / attention_s, watts / dynamic)
    return {'energyMj': joules * 1e3, 'areaMm2': mm2, 'timeUs': t * 1e6, 'users': users, 'tokensPerS': rate,
            'fullMj': (dynamic + steady * regulated / rate) * 1e3}

scales_mm2 = SUMS * 16 / c('memory.romBitsPerMm2')
scales_j = SUMS * 2 * c('memory.romReadJPerByte')
scaling_j = SUMS * (c('digital.accumulateJ') + c('digital.scaleMultiplyJ'))
line = lambda at4, at8: at4 + (at8 - at4) * (4 * 8 - 16) / 48
cell14_um2 = 14 * c('layout.metalPitchM') * c('rom.gatePitchM') * 1e12 / c('rom.cellArrayShare')
cells_mm2 = W * cell14_um2 / 1e6
read_j = W / 2 * c('memory.romReadJPerByte')
adderJ, regJ = c('logic.adderJPerBit'), c('logic.registerJPerBit')
adder, reg, gate, placed = (c('logic.adderUm2'), c('logic.registerUm2'), c('logic.passGateUm2'), c('logic.placementShare'))

def digital_macs():
    units = L * math.ceil(W / L / 1664)
    return units, units * line(c('layout.mac4Um2'), c('layout.macUm2')) / 1e6, W * line(c('digital.mac4J'), c('digital.macJ'))

def routed():
    bits = 8 + 3  # product
    leaves = L * 64 * math.ceil(W / L / 1664 / 64)
    # 64 leaves: 32 adders of 11 bits, 16 of 12, 8 of 13, 4 of 14, 2 of 15, 1 of 16.
    tree = 32 * 11 + 16 * 12 + 8 * 13 + 4 * 14 + 2 * 15 + 16
    acc = bits + 8
    makers = L * math.ceil(leaves / L / 1024)
    leaf_um2 = (9 * bits * gate + bits * reg) / placed
    maker_um2 = bits * (3 * adder + 4 * reg) / placed
    select = (leaves * leaf_um2 + makers * maker_um2) / 1e6
    trees = leaves / 64 * ((tree + acc) * adder + acc * reg) / placed / 1e6
    picked = circuit('routed-selector')['selector']['energyPerSelectedBitJ']
    e = {'cells': read_j, 'scales': scales_j, 'scaling': scaling_j,
         'select': W * bits * (picked + regJ) + INPUTS * bits * (3 * (adderJ + regJ) + regJ),
         'trees': W / 64 * ((tree + acc) * adderJ + acc * regJ)}
    own = L * 1664 / f
    return chip({'cells': cells_mm2, 'scales': scales_mm2, 'select': select, 'trees': trees}, e, own,
                cells_mm2 + select + trees, [(select, 1664 / f), (trees, 1664 / f)], {'rom': cells_mm2 + scales_mm2}, stage=1664 / f)

def mask_rom(levels):
    units, macs_mm2, macs_j = digital_macs()
    if levels == 'connection':
        e = {'cells': read_j, 'scales': scales_j, 'macs': macs_j, 'scaling': scaling_j}
        return chip({'cells': cells_mm2, 'scales': scales_mm2, 'macs': macs_mm2}, e, L * 1664 / f, cells_mm2 + macs_mm2,
                    [(macs_mm2, 1664 / f)], {'rom': cells_mm2 + scales_mm2}, stage=1664 / f)
    rom = circuit('mask-rom')
    w, l = 4 * rom['parameters']['cell_w_m'], 4 * rom['parameters']['cell_l_m']  # 16 times the gate's area
    read = next(r for r in rom['rom']['read'] if r['corner'] == 'TT' and r['tempK'] == 300.15)
    um2 = max(w + c('layout.deviceSideM'), 4 * c('layout.metalPitchM')) * (l + c('layout.deviceEndM')) * 1e12 / c('rom.cellArrayShare')
    cells, sense = 2 * W * um2 / 1e6, units * 2 * 3 * c('rom.senseUm2') / 1e6
    e = {'cells': 2 * W * (4 * read['bitEnergyJ'] + 16 * read['wordEnergyJ']), 'sense': 2 * W * 3 * c('rom.senseJ'),
         'scales': scales_j, 'macs': macs_j, 'scaling': scaling_j}
    on = 1664 * max(1 / f, max(x for x in read['fallS'] if x is not None) + c('rom.prechargeS'))
    return chip({'cells': cells, 'scales': scales_mm2, 'sense': sense, 'macs': macs_mm2}, e, L * on, cells + macs_mm2,
                [(macs_mm2, on)], {'rom': cells + scales_mm2, 'analog': sense}, stage=on)

# Shares of the magnitudes 0 to 7 that the test gives every matrix.
SHARES = [0.15, 0.22, 0.19, 0.15, 0.11, 0.08, 0.06, 0.04]
def hardwired(arithmetic):
    csd = [0, 1, 1, 2, 1, 2, 2, 2]
    if arithmetic == 'csd':
        bits = sum(s * d for s, d in zip(SHARES, csd)) * W
    else:
        bits = (1 - SHARES[0]) * W + SUMS * sum(csd) * 9
    acc = SUMS * (8 + 3 + 8)
    mm2 = ((bits + acc) * adder + acc * reg) / placed / 1e6
    e = {'adders': 8 * ((bits + acc) * adderJ + acc * regJ), 'scales': scales_j, 'scaling': scaling_j}
    depth = math.ceil(math.ceil(math.log(128) / math.log(1.5)) * c('logic.adderDelayS') * f)
    step = (8 + depth) / f
    return chip({'adders': mm2, 'scales': scales_mm2}, e, 128 * step, mm2, [(mm2, step)], {'rom': scales_mm2}, stage=step)

def digital():
    units, macs_mm2, macs_j = digital_macs()
    stored = W * 4 / c('memory.romBitsPerMm2')
    e = {'weights': (W * 4 / 8) * c('memory.romReadJPerByte') + scales_j, 'macs': macs_j, 'scaling': scaling_j}
    return chip({'weights': stored, 'scales': scales_mm2, 'macs': macs_mm2}, e, L * 1664 / f, stored + scales_mm2 + macs_mm2,
                [(macs_mm2, 1664 / f)], {'rom': stored + scales_mm2}, stage=1664 / f)

# Full scale of a cell; a typical bit line, of which SPICE has 14.9 nA at 3 nA.
FULL_A = 6e-9
TYPICAL_A = 14.9e-9 * FULL_A / 3e-9

def log_domain_circuits():
    """Row and bit line of experiments/designs/log-domain.yaml from the calibrated cell, stepped through time."""
    cell = json.load(open(os.path.join(ROOT, 'calibration/planar32lp/t1-large.json')))
    ut = 1.380649e-23 * 300.15 / 1.602176634e-19
    n_ut = cell['nominal']['ladderSlopeFactorN'] * ut
    law, off = cell['law'], cell['corners']['TT']['off']
    m_ut = law['sourceSlopeFactor'][law['tempK'].index(300.15)][law['product'].index(0.3)] * ut
    um2 = (0.8 + c('layout.deviceSideM') * 1e6) * (0.4 + c('layout.deviceEndM') * 1e6)
    wire = math.sqrt(um2) * 1e-6 * c('analog.wireFPerM')
    gate, drain = cell['capacitance']['gateF'], cell['capacitance']['drainF']
    line = 256 * (drain / 2 + wire)
    # Seven taps below a follower of n Ut over 2 + 1 uA; gates as normally distributed weights have them.
    share = [math.exp(-m * m / (2 * 2.73 ** 2)) for m in range(1, 8)]
    cap = [256 * (gate * s / sum(share) + wire) for s in share]
    siemens = [2e-6 / (n_ut * math.log((s + 1) / s)) for s in range(1, 7)] + [3e-6 / n_ut]
    # Gate voltage of 6 nA on the simulated curve at 0.4 V of drain.
    curve = [plot for plot in cell['plots']['transfer'] if abs(plot['vdsV'] - 0.4) < 1e-6][0]
    at = max(i for i, a in enumerate(curve['spiceA']) if a < FULL_A)
    low, high = curve['spiceA'][at:at + 2]
    full = (curve['vgsV'][at] + 0.01 * math.log(FULL_A / low) / math.log(high / low) + 0.1) / n_ut
    index = (off['tempK'].index(300.15) * len(off['vdsV']) + off['vdsV'].index(0.4)) * len(off['vgsV'])
    rest = 256 * math.exp(off['lnCurrent'][index + off['vgsV'].index(-0.1)]) / TYPICAL_A
    tau, dt = line * m_ut / 11 / TYPICAL_A, 2e-12
    settle = 0
    for tap in (1, 7):
        e, ln_y = [1.0] * 7, math.log(rest)
        for step in range(1, 150000):
            flow = [0.0] * 7
            for i in range(7):
                up = ((e[i + 1] if i < 6 else 0.0) - e[i]) * siemens[i]
                flow[i] += up
                if i < 6:
                    flow[i + 1] -= up
            e = [x + k * dt / farad for x, k, farad in zip(e, flow, cap)]
            ln_y += (math.exp(-(full + math.log(tap / 7)) * e[tap - 1]) - math.exp(ln_y)) * dt / tau
            if abs(math.exp(ln_y) - 1) > 0.01:
                settle = max(settle, step * dt)
    return um2, wire, gate, line, settle

def log_domain():
    """0.4 nA a cell, three rows in four driven, full scales of 13 cells, a converter for 64 columns."""
    um2, wire, gate, line, settle = log_domain_circuits()
    ends = ladders = W / 256
    t = 100e-9
    step = 2 * (settle + t) + 64 / c('adc.rateHz')
    laid = lambda w, l: (w + c('layout.deviceSideM') * 1e6) * (l + c('layout.deviceEndM') * 1e6)
    fom = min(213.7807 - 2.8719 * math.log(1e8), 128.3068 + 3.22052 * 8)
    adc_pj = math.exp(26.04962 + 1.880037 * math.log(28) - 2.829126 * math.log(8) - 1.470202) / (2 * 10 ** ((fom - 49.9257) / 10))
    adc_um2 = math.exp(1.346192 + 0.993279 * math.log(28) + 0.180715 * math.log(1e8) + 0.299124 * math.log(adc_pj))
    integrator = 13 * FULL_A * t / 0.3
    clamp = c('layout.analogSpread') * (laid(4, 0.4) + 5 * laid(1, 0.2)) + c('layout.clampSwitchesUm2')
    analog = (ladders * (c('layout.ladderUm2') + 2 * laid(4, 0.4) * c('layout.analogSpread')) + INPUTS * c('layout.dacUm2')
              + ends * 2 * clamp + math.ceil(ends / 64) * adc_um2) / 1e6
    accumulators = math.ceil(ends / 64) * c('layout.accumulatorUm2') / 1e6
    area = {'cells': W * um2 / 1e6, 'analog': analog, 'integrators': ends * integrator / c('layout.capacitorFPerUm2') / 1e6,
            'accumulators': accumulators, 'scales': scales_mm2}
    unclocked = {
        'array': W * 0.4e-9 * 0.8 * (t + settle),
        'rows': ladders * 3e-6 * 0.8 * (2 * (settle + t) + settle),
        'gates': 0.75 * W * (gate + 7 * wire) * c('analog.gateSwingV') * 0.8,
        'dacs': INPUTS * c('analog.dacJ'),
        'clamps': ends * 4 * 3e-6 * 0.8 * (settle + t),
        'lines': ends * 2 * line * 0.4 * 0.8,
        'integrators': ends * integrator * 0.3 * 0.8,
        'adcs': ends * adc_pj * 1e-12}
    traffic = (INPUTS * 7, ends * 8 * 256 * math.sqrt(um2) * 1e-3)
    return chip(area, {'accumulation': scaling_j, 'scales': scales_j}, 128 * step, 0, [(accumulators, step)], {'analog': analog, 'rom': scales_mm2}, unclocked, traffic, stage=step)

def gpu():
    macs = W + HEAD
    bytes_ = 2 * macs + 2 * L * KV * HD * CTX * 2
    t = bytes_ / (3.35e12 * c('gpu.bandwidthShare'))
    ops = 2 * (macs + 2 * L * HEADS * HD * CTX)
    e = 8 * bytes_ * c('gpu.memoryJPerBit') + ops * c('gpu.operationJ') + c('gpu.staticW') * t
    # All users that 80 GB hold, sharing one read of the weights.
    cache = 2 * L * KV * HD * CTX * 2
    users = math.floor((80e9 - 2 * macs) / cache)
    per = 2 * macs / users + cache
    dynamic = 8 * per * c('gpu.memoryJPerBit') + ops * c('gpu.operationJ')
    rate = min(3.35e12 * c('gpu.bandwidthShare') / per, 989e12 * c('gpu.operationShare') / ops, (700 - c('gpu.staticW')) / dynamic)
    return {'energyMj': e * 1e3, 'areaMm2': 814, 'timeUs': t * 1e6, 'users': users, 'tokensPerS': rate,
            'fullMj': (dynamic + c('gpu.staticW') / rate) * 1e3}

print('log-domain row and line: wire %.5g F, line %.5g F, settles in %.5g s' % (log_domain_circuits()[1], *log_domain_circuits()[3:]))
for name, cost in [('log-domain', log_domain()), ('digital', digital()), ('routed', routed()), ('mask-rom', mask_rom('current')), ('mask-rom rom.levels=connection', mask_rom('connection')),
                   ('hardwired', hardwired('grouped')), ('hardwired wires.arithmetic=csd', hardwired('csd')), ('gpu', gpu())]:
    print(name, *(f'{k} {v:.6g}' for k, v in cost.items()))
