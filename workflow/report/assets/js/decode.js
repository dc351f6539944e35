// Data arrive as gzip in base64, in script elements that never run.

async function unpack(id) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser is older than 2023 and cannot unpack it");
  }
  const text = atob(byId(id).textContent.trim());
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function readOverview() {
  return JSON.parse(new TextDecoder().decode(await unpack("data-overview")));
}

// A job with its best sample.
async function readDetail(jobId) {
  const shared = await readSections(jobId);
  return withSample(shared, shared);
}

// The same job with another of its samples.
async function readSample(shared, key) {
  return withSample(shared, await readSections(key));
}

const sampleKey = (jobId, { seed, sample }) => `${jobId}.${seed}.${sample}`;

const hasData = (key) => byId(`data-${key}`) !== null;

function withSample(shared, own) {
  return { ...shared, ...own,
    atoms: { ...shared.atoms, plddt: own.atom_plddt },
    tokens: { ...shared.tokens, plddt: own.token_plddt } };
}

async function readSections(key) {
  const [head, matrix] = splitSections(await unpack(`data-${key}`));
  const detail = JSON.parse(new TextDecoder().decode(head));
  detail.pae.values = decodeMatrix(matrix, detail.pae.side);
  return detail;
}

function splitSections(buffer) {
  const view = new DataView(buffer);
  const count = view.getUint32(0, true);
  let offset = 4 * (count + 1);
  return Array.from({ length: count }, (_, index) => {
    const length = view.getUint32(4 * (index + 1), true);
    const section = new Uint8Array(buffer, offset, length);
    offset += length;
    return section;
  });
}

// The inverse of `encode_matrix`: planes of low and high bytes, zigzag, differences
// along rows and columns; Uint16Array does the arithmetic modulo 2^16.
function decodeMatrix(bytes, side) {
  const size = side * side;
  const values = new Uint16Array(size);
  for (let row = 0; row < side; row += 1) {
    let rowSum = 0;
    for (let at = row * side; at < (row + 1) * side; at += 1) {
      const zigzag = bytes[at] | (bytes[size + at] << 8);
      rowSum += (zigzag >> 1) ^ -(zigzag & 1);
      values[at] = rowSum + (row > 0 ? values[at - side] : 0);
    }
  }
  return values;
}
