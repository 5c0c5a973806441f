import init from "OWN_SCRIPT";
self.onmessage = ({ data: [module, reins] }) => {
  self.onmessage = null;
  self.reins = reins;
  init({ module_or_path: module }).catch((error) => setTimeout(() => { throw error; }));
};
