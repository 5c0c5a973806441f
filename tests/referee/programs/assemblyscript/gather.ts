// Reads everything into a buffer that doubles, and says what it was.

let text = new ArrayBuffer(1000);
let length = 0;
while (true) {
  const got = process.stdin.read(text, length);
  if (got <= 0) break;
  length += got;
  if (length == text.byteLength) {
    const larger = new ArrayBuffer(text.byteLength * 2);
    memory.copy(changetype<usize>(larger), changetype<usize>(text), length);
    text = larger;
  }
}
let mixed: u64 = 0xcbf29ce484222325;
let lines = 0;
for (let at = 0; at < length; at++) {
  const byte = load<u8>(changetype<usize>(text) + at);
  mixed = (mixed ^ byte) * 0x100000001b3;
  if (byte == 10) lines++;
}
process.stdout.write(length.toString() + " bytes, " + lines.toString() + " lines, " + mixed.toString(16) + "\n");
process.stdout.write(text.slice(max(0, length - 8), length));
process.stdout.write("\n");
