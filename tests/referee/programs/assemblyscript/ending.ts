// The ways in which a program can end, after it has put something out.

const how = process.argv.length > 1 ? process.argv[1] : "return";
const code = process.argv.length > 2 ? i32(parseInt(process.argv[2])) : 0;
console.log("ending by " + how);
process.stderr.write("said to the errors\n");
if (how == "abort" || how == "error") throw new Error("as asked");
if (how == "trap") unreachable();
if (how == "divide") console.log((100 / code).toString());
if (how == "outside") console.log([1, 2, 3][code + 3].toString());
process.exit(code);
