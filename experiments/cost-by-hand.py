"""Energy, area and time of Llama 3.1 8B on each fabric of integer arithmetic and on a GPU, by hand: from a copy of the
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

def chip(own_area, own_energy, own_latency, side_mm2, gated, silicon):
    """own_*: of the fabric. gated: [(mm2, seconds on)] of it. silicon: mm2 of the fabric by kind that is never off."""
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
    side = math.sqrt(mm2 / L)
    head_s = HEAD / c('digital.headMacsPerCycle') / f
    t = own_latency + L * attention_s + (L * c('digital.vectorDepthCyclesPerLayer') + c('digital.headDepthCycles')) / f
    t += 129 * 2 * side * c('wire.delaySPerMm') + (dies - 1) * c('wire.dieLinkS') + head_s
    # Energy.
    norms = (L * 2 * D + D) * 3
    ops = norms + L * (HEADS + KV) * HD * 3 + L * HEADS * CTX * 4 + L * F * 5 + L * 2 * D
    e = dict(own_energy)
    e['vector-units'] = ops * c('digital.vectorOpJ')
    e['attention'] = 2 * L * HEADS * HD * CTX * c('digital.attentionMacJ')
    e['kv-sram'] = kv_bytes * c('memory.sramReadJPerByte') + kv_bytes / CTX * c('memory.sramWriteJPerByte')
    e['head'] = HEAD * (c('digital.macJ') + c('memory.romReadJPerByte') * c('digital.headWeightBits') / 8)
    bank_side = math.sqrt(side_mm2 / L)
    e['wires'] = (INPUTS * 8 * side + OUTPUTS * 16 * bank_side) * c('wire.energyJPerBitMm')
    e['wires'] += (dies - 1) * D * 16 * c('wire.dieLinkJPerBit')
    clocked = sum(e.values())
    s = c('digital.clockShare')
    e['clock'] = clocked * s / (1 - s)
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
    return {'energyMj': sum(e.values()) * 1e3, 'areaMm2': mm2, 'timeUs': t * 1e6}

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
                cells_mm2 + select + trees, [(select, 1664 / f), (trees, 1664 / f)], {'rom': cells_mm2 + scales_mm2})

def mask_rom(levels):
    units, macs_mm2, macs_j = digital_macs()
    if levels == 'connection':
        e = {'cells': read_j, 'scales': scales_j, 'macs': macs_j, 'scaling': scaling_j}
        return chip({'cells': cells_mm2, 'scales': scales_mm2, 'macs': macs_mm2}, e, L * 1664 / f, cells_mm2 + macs_mm2,
                    [(macs_mm2, 1664 / f)], {'rom': cells_mm2 + scales_mm2})
    rom = circuit('mask-rom')
    w, l = 4 * rom['parameters']['cell_w_m'], 4 * rom['parameters']['cell_l_m']  # 16 times the gate's area
    read = next(r for r in rom['rom']['read'] if r['corner'] == 'TT' and r['tempK'] == 300.15)
    um2 = max(w + c('layout.deviceSideM'), 4 * c('layout.metalPitchM')) * (l + c('layout.deviceEndM')) * 1e12 / c('rom.cellArrayShare')
    cells, sense = 2 * W * um2 / 1e6, units * 2 * 3 * c('rom.senseUm2') / 1e6
    e = {'cells': 2 * W * (4 * read['bitEnergyJ'] + 16 * read['wordEnergyJ']), 'sense': 2 * W * 3 * c('rom.senseJ'),
         'scales': scales_j, 'macs': macs_j, 'scaling': scaling_j}
    on = 1664 * max(1 / f, max(x for x in read['fallS'] if x is not None) + c('rom.prechargeS'))
    return chip({'cells': cells, 'scales': scales_mm2, 'sense': sense, 'macs': macs_mm2}, e, L * on, cells + macs_mm2,
                [(macs_mm2, on)], {'rom': cells + scales_mm2, 'analog': sense})

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
    return chip({'adders': mm2, 'scales': scales_mm2}, e, 128 * step, mm2, [(mm2, step)], {'rom': scales_mm2})

def gpu():
    macs = W + HEAD
    bytes_ = 2 * macs + 2 * L * KV * HD * CTX * 2
    t = bytes_ / (3.35e12 * c('gpu.bandwidthShare'))
    ops = 2 * (macs + 2 * L * HEADS * HD * CTX)
    e = 8 * bytes_ * c('gpu.memoryJPerBit') + ops * c('gpu.operationJ') + c('gpu.staticW') * t
    return {'energyMj': e * 1e3, 'areaMm2': 814, 'timeUs': t * 1e6}

for name, cost in [('routed', routed()), ('mask-rom', mask_rom('current')), ('mask-rom rom.levels=connection', mask_rom('connection')),
                   ('hardwired', hardwired('grouped')), ('hardwired wires.arithmetic=csd', hardwired('csd')), ('gpu', gpu())]:
    print(name, *(f'{k} {v:.6g}' for k, v in cost.items()))
