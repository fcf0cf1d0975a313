"""Sensors read what stands in files and what a library says; what is not there says so."""

from types import SimpleNamespace

import pytest

from livecut.engine.bench.energy import idle_power, mean_power
from livecut.engine.bench.sampler import Sampler, Window
from livecut.engine.bench.sensors import NotReadable, Reading, Sensor, open_sensors
from livecut.engine.bench.sensors.host import Host
from livecut.engine.bench.sensors.jetson import Ina3221, Tegra
from livecut.engine.bench.sensors.nvml import Nvml, describe_gpus
from livecut.engine.bench.sensors.rapl import Rapl


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


# -- RAPL


@pytest.fixture
def powercap(tmp_path):
    zones = tmp_path / "sys/class/powercap"
    for zone, name, energy in (
        ("intel-rapl:0", "package-0", 1_000_000),
        ("intel-rapl:0:0", "core", 600_000),
        ("intel-rapl:0:1", "dram", 200_000),
        ("intel-rapl:1", "psys", 9_000_000),
    ):
        write(zones / zone / "name", name)
        write(zones / zone / "energy_uj", energy)
        write(zones / zone / "max_energy_range_uj", 5_000_000)
    return tmp_path


def test_rapl_counts_packages_and_memory_but_nothing_twice(powercap):
    assert Rapl(powercap).read().joules == {"package-0": 1.0, "dram-0": 0.2}


def test_rapl_goes_on_counting_when_the_counter_wraps_around(powercap):
    rapl = Rapl(powercap)
    rapl.read()
    write(powercap / "sys/class/powercap/intel-rapl:0/energy_uj", 500_000)
    assert rapl.read().joules["package-0"] == pytest.approx(5.5)


def test_rapl_says_that_only_root_may_read_it(powercap):
    for energy in (powercap / "sys/class/powercap").glob("*/energy_uj"):
        energy.unlink()
    with pytest.raises(NotReadable, match="only root"):
        Rapl(powercap)


def test_rapl_says_that_there_are_no_counters(tmp_path):
    with pytest.raises(NotReadable, match="no energy counters"):
        Rapl(tmp_path)


# -- Jetson


def test_jetson_rails_of_hwmon_are_volts_times_amperes_and_the_input_is_the_whole(tmp_path):
    chip = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    for channel, label, volts, amperes in (
        (1, "VDD_IN", 5000, 1500),
        (2, "VDD_CPU_GPU_CV", 5000, 600),
        (3, "VDD_SOC", 5000, 400),
    ):
        write(chip / f"in{channel}_label", label)
        write(chip / f"in{channel}_input", volts)
        write(chip / f"curr{channel}_input", amperes)
    write(chip / "in7_label", "sum of shunt voltages")
    sensor = Ina3221(tmp_path)
    watts = sensor.read().watts
    assert watts == pytest.approx({"VDD_IN": 7.5, "VDD_CPU_GPU_CV": 3.0, "VDD_SOC": 2.0})
    assert sensor.total_of(list(watts)) == ["VDD_IN"]


def test_jetson_rails_of_iio_are_milliwatts_and_add_up_without_an_input_rail(tmp_path):
    chip = tmp_path / "sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0"
    for channel, label, power in ((0, "VDD_GPU_SOC", 3000), (1, "VDD_CPU_CV", 1500), (2, "NC", 0)):
        write(chip / f"rail_name_{channel}", label)
        write(chip / f"in_power{channel}_input", power)
    sensor = Ina3221(tmp_path)
    watts = sensor.read().watts
    assert watts == {"VDD_GPU_SOC": 3.0, "VDD_CPU_CV": 1.5, "NC": 0.0}
    assert sensor.total_of(list(watts)) == ["VDD_GPU_SOC", "VDD_CPU_CV"]


@pytest.mark.parametrize("kind", [Ina3221, Tegra])
def test_anything_else_is_no_jetson(tmp_path, kind):
    write(tmp_path / "sys/class/devfreq/d0000000.memory-controller/cur_freq", 1_600_000_000)
    write(tmp_path / "sys/class/thermal/cooling_device0/type", "Processor")
    write(tmp_path / "sys/class/hwmon/hwmon0/temp1_input", 40000)
    with pytest.raises(NotReadable, match="not a Jetson"):
        kind(tmp_path)


@pytest.mark.parametrize(
    "node", ["17000000.gpu", "17000000.ga10b", "17000000.gv11b", "17000000.gp10b", "gpu-gpc-0"]
)
def test_jetson_tells_the_gpus_clock(tmp_path, node):
    write(tmp_path / "sys/class/devfreq" / node / "cur_freq", 918_000_000)
    write(tmp_path / "sys/class/devfreq/15340000.vic/cur_freq", 600_000_000)
    assert Tegra(tmp_path).read().mhz == {f"GPU {node}": 918.0}


def test_jetson_tells_over_current_events_and_what_throttles_it(tmp_path):
    classes = tmp_path / "sys/class"
    for number, count in ((1, 0), (3, 12)):
        write(classes / f"hwmon/hwmon2/oc{number}_event_cnt", count)
    for number, (kind, state) in enumerate(
        (("gpu-throttle-alert", 1), ("cpu-throttle-alert", 0), ("pwm-fan", 3))
    ):
        write(classes / f"thermal/cooling_device{number}/type", kind)
        write(classes / f"thermal/cooling_device{number}/cur_state", state)
    sensor = Tegra(tmp_path)
    reading = sensor.read()
    assert reading.throttled == {"over-current events, oc1": 0.0, "over-current events, oc3": 12.0}
    assert reading.reasons == ("gpu-throttle-alert",)
    (classes / "thermal/cooling_device0/cur_state").unlink()
    assert sensor.read().reasons == ()


# -- the host


def test_the_host_tells_temperatures_clocks_throttling_and_quota(tmp_path):
    system = tmp_path / "sys"
    write(system / "class/thermal/thermal_zone0/type", "x86_pkg_temp")
    write(system / "class/thermal/thermal_zone0/temp", 48500)
    write(system / "class/thermal/thermal_zone1/type", "x86_pkg_temp")
    write(system / "class/thermal/thermal_zone1/temp", 50000)
    for core, clock in ((0, 3_000_000), (1, 2_000_000)):
        write(system / f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", clock)
        write(system / f"devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count", 2)
    write(tmp_path / "proc/self/cgroup", "0::/shop")
    write(system / "fs/cgroup/shop/cpu.stat", "usage_usec 5\nnr_throttled 7")
    reading = Host(tmp_path).read()
    assert reading.celsius == {"x86_pkg_temp": 48.5, "x86_pkg_temp 1": 50.0}
    assert reading.mhz == {"cores, mean": 2500.0, "cores, lowest": 2000.0}
    assert reading.throttled == {"core throttle events": 4.0, "cgroup quota stops": 7.0}


def test_a_host_that_tells_nothing_says_so(tmp_path):
    with pytest.raises(NotReadable, match="no temperatures"):
        Host(tmp_path)


def test_every_sensor_that_is_not_here_is_named_with_its_reason(tmp_path):
    found, missing = open_sensors(tmp_path)
    assert set(missing) | {sensor.name for sensor in found} == {"host", "rapl", "ina3221", "tegra", "nvml"}
    assert all(len(reason) > 10 for reason in missing.values())


# -- NVML


class FakeNvml:
    """The calls that are used, of a machine with twelve GPUs; ``refused`` raise as unsupported ones do."""

    class NVMLError(Exception):
        pass

    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = 0, 1

    def __init__(self, refused=()):
        self.refused, self.shut, self.energy = set(refused), False, 5000

    def __getattr__(self, name):
        answers = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: 12,
            "nvmlDeviceGetPciInfo": lambda handle: SimpleNamespace(
                busId=f"00000000:{0x60 + handle:02X}:00.0"
            ),
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}abc",
            "nvmlDeviceGetPowerUsage": lambda handle: 90_000 + 1000 * handle,
            "nvmlDeviceGetTotalEnergyConsumption": lambda handle: self.energy,
            "nvmlDeviceGetTemperature": lambda handle, kind: 61,
            "nvmlDeviceGetClockInfo": lambda handle, kind: 1410,
            "nvmlDeviceGetMaxClockInfo": lambda handle, kind: 1980,
            "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=2**30, total=2**34),
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0x4 | 0x1,
            "nvmlDeviceGetName": lambda handle: b"RTX Example",
            "nvmlDeviceGetPowerManagementLimit": lambda handle: 200_000,
            "nvmlDeviceGetCudaComputeCapability": lambda handle: (8, 6),
            "nvmlSystemGetDriverVersion": lambda: "999.1",
            "nvmlShutdown": lambda: setattr(self, "shut", True),
        }

        def call(*arguments):
            if name in self.refused:
                raise self.NVMLError(f"{name} not supported")
            return answers[name](*arguments)

        return call


def nvml(library=None, in_cuda=()):
    """The sensor where CUDA shows the GPUs at these addresses; by default it cannot be asked."""
    return Nvml(library=library or FakeNvml(), in_cuda=lambda: list(in_cuda))


def test_nvml_reads_energy_clocks_and_why_they_are_down_of_the_gpu_in_use_alone(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    reading = nvml().read()
    assert reading.joules == {"gpu0": 5.0}
    assert reading.watts == {}
    assert reading.celsius == {"gpu0": 61.0}
    assert reading.mhz == {"gpu0, SM": 1410.0}
    assert reading.memory_mb == {"gpu0": 1024}
    assert reading.reasons == ("gpu0: power cap",)


def test_nvml_takes_momentary_power_where_there_is_no_energy_counter(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    reading = nvml(FakeNvml(refused={"nvmlDeviceGetTotalEnergyConsumption"})).read()
    assert reading.watts == {"gpu1": 91.0}


def test_nvml_finds_the_gpu_that_cuda_takes_first_by_its_address(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # of CUDA's order, which is another
    in_cuda = ["0000:6a:00.0", "0000:61:00.0"]
    assert set(nvml(in_cuda=in_cuda).read().celsius) == {"gpu10"}
    assert [gpu["id"] for gpu in describe_gpus(FakeNvml(), lambda: in_cuda)] == ["gpu10", "gpu1"]
    silent = FakeNvml(refused={"nvmlDeviceGetPciInfo"})
    assert set(nvml(silent, in_cuda).read().celsius) == {"gpu0"}


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("0", ["gpu0"]),
        ("1", ["gpu1"]),
        ("1,0", ["gpu1", "gpu0"]),
        ("11, 2", ["gpu11", "gpu2"]),
        ("2,77,1", ["gpu2"]),
        ("GPU-11", ["gpu11"]),
        ("GPU-3abc", ["gpu3"]),
    ],
)
def test_nvml_goes_by_the_variable_where_cuda_cannot_be_asked(visible, names, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu["id"] for gpu in describe_gpus(FakeNvml(), list)] == names
    assert set(nvml().read().celsius) == {names[0]}


def test_nvml_goes_on_without_a_gpu_that_has_fallen_off_its_bus(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    class OneLost(FakeNvml):
        def __getattr__(self, name):
            call = super().__getattr__(name)
            if name != "nvmlDeviceGetHandleByIndex":
                return call

            def handle(index):
                if index == 0:
                    raise self.NVMLError("GPU is lost")
                return call(index)

            return handle

    assert set(nvml(OneLost()).read().celsius) == {"gpu1"}
    assert set(nvml(OneLost(), ["0000:60:00.0", "0000:62:00.0"]).read().celsius) == {"gpu2"}
    with pytest.raises(NotReadable, match="no GPU"):
        nvml(FakeNvml(refused={"nvmlDeviceGetCount"}))


def test_nvml_without_a_gpu_or_a_driver_says_so(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    library = FakeNvml()
    with pytest.raises(NotReadable, match="no GPU"):
        nvml(library)
    assert library.shut
    with pytest.raises(NotReadable, match="NVML does not start"):
        nvml(FakeNvml(refused={"nvmlInit"}))
    assert describe_gpus(FakeNvml(refused={"nvmlInit"}), list) == []


def test_gpus_are_described_for_the_machine(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (gpu,) = describe_gpus(FakeNvml(), list)
    assert gpu["name"] == "RTX Example"
    assert gpu["compute_capability"] == "8.6"
    assert gpu["power_limit_watts"] == 200


# -- the sampler


class Told(Sensor):
    """Gives the readings it was told to, in turn."""

    name = "told"

    def __init__(self, readings, whole=None):
        self.readings, self.whole = list(readings), whole

    def read(self):
        return self.readings.pop(0)

    def total_of(self, rails):
        return self.whole or rails


def sampled(readings, *, rss=None, step=1.0, cpu_step=0.5, whole=None):
    moments, cpu = iter(range(len(readings))), iter(range(len(readings)))
    memory = iter(rss or [100.0] * len(readings))
    sampler = Sampler(
        [Told(readings, whole)],
        clock=lambda: 10 + step * next(moments),
        cpu=lambda: cpu_step * next(cpu),
        rss_mb=lambda: next(memory),
    )
    for _ in range(len(readings)):
        sampler.sample()
    return sampler


def test_power_is_the_rise_of_an_energy_counter_over_the_window():
    window = Window(sampled([Reading(joules={"soc": 100 + 8 * n}) for n in range(6)]), 11.5, 14.0)
    assert window.watts() == {"told": {"soc": pytest.approx(8)}}
    assert window.total_watts() == (pytest.approx(8), ["told soc"])
    assert window.cpu_seconds() == pytest.approx(1.25)


def test_momentary_power_is_averaged_over_time_not_over_samples():
    readings = [Reading(watts={"in": watts}) for watts in (10, 10, 20, 20)]
    window = Window(sampled(readings), 10.5, 12.5)
    assert window.total_watts()[0] == pytest.approx((0.5 * 10 + 1 * 15 + 0.5 * 20) / 2)


def test_a_total_counts_every_watt_once():
    readings = [Reading(watts={"VDD_IN": 7.0, "VDD_CPU": 3.0})] * 3
    assert Window(sampled(readings, whole=["VDD_IN"]), 10, 12).total_watts() == (
        pytest.approx(7),
        ["told VDD_IN"],
    )


def test_counters_that_rose_and_reasons_are_told():
    readings = [
        Reading(throttled={"hot": 3.0, "quota": 1.0}, reasons=("gpu0: power cap",) * (n == 2))
        for n in range(4)
    ]
    readings[-1] = Reading(throttled={"hot": 5.0, "quota": 1.0})
    window = Window(sampled(readings), 10, 13)
    assert window.risen() == {"hot": 2.0}
    assert window.reasons() == ["gpu0: power cap"]


def test_memory_tells_slope_and_growth_of_the_window():
    rss = [900.0, *(100.0 + n / 60 for n in range(1, 61))]
    window = Window(sampled([Reading()] * 61, rss=rss), 11, 70)
    assert window.rss_slope_mb_per_hour() == pytest.approx(60)
    assert window.rss_growth_mb() == pytest.approx(0.5, abs=0.02)
    assert window.rss_mb()["max"] < 102


def test_a_window_between_two_samples_takes_the_nearest():
    assert Window(sampled([Reading()] * 3), 10.2, 10.4).rss_mb()["end"] == 100


def test_idle_power_is_none_where_nothing_measures_it():
    assert idle_power([Told([Reading(celsius={"cpu": 40.0})])], 5) is None
    assert idle_power([Told([Reading(watts={"in": 5.0})])], 0) is None
    power = mean_power(sampled([Reading(watts={"in": 5.0})] * 3))
    assert power["watts"] == pytest.approx(5)
    assert power["seconds"] == 2
