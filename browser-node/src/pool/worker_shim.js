import init from "OWN_SCRIPT";
self.p2pnetImport = (address) => import(address);
self.onmessage = ({ data: [module, reins, interpreter] }) => {
  self.onmessage = null;
  Object.assign(self, { reins, interpreter });
  init({ module_or_path: module }).catch((error) => setTimeout(() => { throw error; }));
};
