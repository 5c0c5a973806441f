import init from "OWN_SCRIPT";
self.onmessage = ({ data }) => {
  self.onmessage = null;
  init({ module_or_path: data }).catch((error) => setTimeout(() => { throw error; }));
};
