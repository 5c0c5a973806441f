//! What the person lends, as the page shows and keeps it.

use p2pnet_shared::api::ProviderSettings;
use serde::{Deserialize, Serialize};

use crate::device::Device;

/// What the person chose to lend. Kept in the tab's store, so that a reload goes on lending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Whether this tab lends at all.
    pub lending: bool,
    /// Cores lent: 1 to what the device has.
    pub cores: u16,
    /// Share of each lent core's time, 1 to 100 percent.
    pub cpu_percent: u8,
    /// Memory that one task may use, in MiB, 16 to 4096.
    pub memory_mib: u32,
    /// Whether to go on lending while the device runs on battery.
    pub lend_on_battery: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lending: false, cores: 1, cpu_percent: 100, memory_mib: 1024, lend_on_battery: false }
    }
}

impl Settings {
    /// What a person who never chose gets: everything but one core, so that the device stays responsive.
    pub fn for_device(device: &Device) -> Self {
        Self { cores: device.cores.saturating_sub(1).max(1), ..Self::default() }
    }

    /// The same with every number inside its range.
    #[must_use]
    pub fn within(self, device: &Device) -> Self {
        Self {
            cores: self.cores.clamp(1, device.cores.max(1)),
            cpu_percent: self.cpu_percent.clamp(1, 100),
            memory_mib: self.memory_mib.clamp(16, 4096),
            ..self
        }
    }

    /// What the node is told.
    pub fn for_node(self, device: &Device) -> ProviderSettings {
        let on_battery = device.battery.is_some_and(|battery| battery.discharging);
        ProviderSettings {
            lending: self.lending,
            cores: self.cores,
            cpu_percent: self.cpu_percent,
            memory_mib: self.memory_mib,
            on_battery: on_battery && !self.lend_on_battery,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Battery;

    #[test]
    fn settings_of_another_device_are_cut_to_this_one() {
        let device = Device { cores: 4, ..Device::default() };
        let wild = Settings { cores: 900, cpu_percent: 0, memory_mib: 0, ..Settings::default() };
        let cut = wild.within(&device);
        assert_eq!((cut.cores, cut.cpu_percent, cut.memory_mib), (4, 1, 16));
        assert_eq!(Settings::for_device(&device).cores, 3);
        assert_eq!(Settings::for_device(&Device::default()).cores, 1);
    }

    #[test]
    fn battery_pauses_lending_unless_the_person_says_otherwise() {
        let battery = Some(Battery { discharging: true, percent: 40 });
        let device = Device { battery, ..Device::default() };
        let settings = Settings { lending: true, ..Settings::default() };
        assert!(settings.for_node(&device).on_battery);
        assert!(!Settings { lend_on_battery: true, ..settings }.for_node(&device).on_battery);
        assert!(!settings.for_node(&Device::default()).on_battery);
    }
}
