// A guest's exception on its way from TypeScript code of the engine (helpers, page walks, descriptor loads) to the
// boundary with generated code, which turns it into EXIT_EXCEPTION. Never crosses the vCPU's worker.

/** An exception that the guest's instruction caused. `errorCode` −1: none. Not an Error: it needs no stack trace. */
export class GuestFault {
  readonly vector: number;
  readonly errorCode: number;

  constructor(vector: number, errorCode = -1) {
    this.vector = vector;
    this.errorCode = errorCode;
  }
}
