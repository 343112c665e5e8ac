# What goes into the bundle of each Lambda function: its locked packages, as wheels for Lambda's
# Python and MACHINE (set by the file that includes this), and our code. Any machine can make
# them. Run by `sam build` from the project's root, with ARTIFACTS_DIR set; boto3 is not in them,
# as Lambda's own runtime has it.

PYTHON ?= python3
VERSION := 3.13
# What compiles must be Lambda's own version: on the PATH, or pyenv's.
COMPILERS := python$(VERSION) $(wildcard $(HOME)/.pyenv/versions/$(VERSION).*/bin/python$(VERSION))
COMPILER ?= $(shell for name in $(COMPILERS); do \
	"$$name" -c 'import sys; print(sys.executable)' 2>/dev/null && break; done)
# Lambda's Python 3.13 runs on Amazon Linux 2023, whose C library is 2.34.
PLATFORMS := $(foreach tag,manylinux_2_34 manylinux_2_31 manylinux_2_28 manylinux_2_27 \
	manylinux_2_24 manylinux2014 manylinux_2_17,--platform $(tag)_$(MACHINE))
LIMITS := --quiet --only-binary :all: --require-hashes --no-deps --target "$(ARTIFACTS_DIR)"
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

.PHONY: build-WorkerFunction build-ApiFunction build-ReaperFunction build-MigrateFunction
build-WorkerFunction: ; @$(call install,worker) && $(call copy,--exclude=shared/api) && $(compile)
build-ApiFunction: ; @$(call install,api) && $(call copy,) && $(compile)
build-ReaperFunction: ; @$(call install,reaper) && $(call copy,--exclude=shared/api/page) && $(compile)
build-MigrateFunction: ; @$(call install,migrate) && $(call copy,--exclude=shared/api) && $(compile)

# uv, where the project's own environment has it, takes a tenth of pip's time.
install = { [ -x .venv/bin/uv ] && .venv/bin/uv --system-certs pip install $(LIMITS) \
		--python-version $(VERSION) --python-platform $(MACHINE)-manylinux_2_31 \
		--link-mode copy -r cloud/requirements/$(1).lock; } \
	|| $(PYTHON) -m pip install --disable-pip-version-check --no-compile --upgrade $(LIMITS) \
		--implementation cp --python-version $(VERSION) $(PLATFORMS) \
		-r cloud/requirements/$(1).lock

copy = rm -rf "$(ARTIFACTS_DIR)/bin" "$(ARTIFACTS_DIR)/.lock" \
	&& tar -c --exclude=__pycache__ $(1) functions shared | tar -x -C "$(ARTIFACTS_DIR)"

# A sandbox cannot write compiled files: without them each cold start compiles all it imports.
# They must not be held against the times of their sources, which an archive does not keep.
compile = if [ -n "$(COMPILER)" ]; then \
		"$(COMPILER)" -m compileall -q -j 0 --invalidation-mode unchecked-hash \
			-s "$(ARTIFACTS_DIR)" -p /var/task "$(ARTIFACTS_DIR)"; \
	else echo "no Python $(VERSION) to compile with: cold starts will be slow" >&2; fi
