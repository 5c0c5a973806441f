// What a program is told when it starts. The first argument is its name, which is the host's to choose.

const given = process.argv;
for (let at = 1; at < given.length; at++) console.log(at.toString() + ": " + given[at]);
console.log(process.env.size.toString() + " variables");
console.log("this century: " + (Date.now() > 946684800000).toString());
const before = process.hrtime();
console.log("forwards: " + (process.hrtime() >= before).toString());
