// A map and its strings grow while lines are read and printed.

const piece = new ArrayBuffer(3000);
let rest = "";
const counts = new Map<string, i32>();
while (true) {
  const got = process.stdin.read(piece);
  if (got <= 0) break;
  // One byte is one character here, whatever it was.
  const codes = new Array<i32>(got);
  for (let at = 0; at < got; at++) codes[at] = load<u8>(changetype<usize>(piece) + at);
  rest += String.fromCharCodes(codes);
  const lines = rest.split("\n");
  rest = lines.pop();
  for (let at = 0; at < lines.length; at++) {
    const words = lines[at].split(" ");
    for (let place = 0; place < words.length; place++) {
      const word = words[place].toUpperCase();
      counts.set(word, counts.has(word) ? counts.get(word) + 1 : 1);
      process.stdout.write(word + " " + counts.get(word).toString() + "\n");
    }
  }
}
const words = counts.keys().sort();
for (let at = 0; at < words.length; at++) console.log(words[at] + ": " + counts.get(words[at]).toString());
console.error("the rest: " + rest);
