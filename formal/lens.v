(* Chapters 8 and 9: function space, changes of parameters, the softmax's gradients. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Formal Require Import determinants gain.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Lens.
Variable Num : comUnitRingType.

(* T44: function space. With L = U U' the outputs' Fisher information and k = J P^-1 J'
   their covariance, the gain needs no parameters: det(I + U' k U). *)
Lemma gain_in_function_space c q d (P : 'M[Num]_d) (J : 'M[Num]_(c, d))
    (U : 'M[Num]_(c, q)) :
  let k := J *m inv P *m J^T in
  \det (I + J^T *m (U *m U^T) *m J *m inv P) = \det (I + U^T *m k *m U).
Proof.
by move=> k; rewrite /k -!mulmxA [J^T *m _]mulmxA sylvester !mulmxA.
Qed.

(* T46: under a change of parameters B a root becomes R B^-1, a precision B^-T P B^-1:
   the Gram block R P^-1 R' stays as it is. *)
Lemma gram_is_invariant r d (P B : 'M[Num]_d) (R : 'M[Num]_(r, d)) :
  P \in unitmx -> B \in unitmx ->
  let P_B := (inv B)^T *m P *m inv B in
  let R_B := R *m inv B in
  R_B *m inv P_B *m R_B^T = R *m inv P *m R^T.
Proof.
move=> uP uB P_B R_B; have uBT : B^T \in unitmx by rewrite unitmx_tr.
have [_ ->] : P_B \in unitmx /\ inv P_B = B *m inv P *m B^T.
  apply: inverse_is_unique; rewrite /P_B trmx_inv !mulmxA mulmxKV // mulmxK //.
  by rewrite mulVmx.
by rewrite /R_B trmx_mul trmx_inv !mulmxA mulmxKV // mulmxK.
Qed.

(* T46: hence the log-determinant form of every score ... *)
Lemma gain_is_invariant r d (P B : 'M[Num]_d) (R : 'M[Num]_(r, d)) :
  P \in unitmx -> B \in unitmx ->
  let P_B := (inv B)^T *m P *m inv B in
  let R_B := R *m inv B in
  \det (I + R_B^T *m R_B *m inv P_B) = \det (I + R^T *m R *m inv P).
Proof. by move=> uP uB P_B R_B; rewrite !gain_by_root gram_is_invariant. Qed.

(* T46: ... and the trace form. *)
Lemma trace_is_invariant r d (P B : 'M[Num]_d) (R : 'M[Num]_(r, d)) :
  P \in unitmx -> B \in unitmx ->
  let P_B := (inv B)^T *m P *m inv B in
  let R_B := R *m inv B in
  \tr (R_B^T *m R_B *m inv P_B) = \tr (R^T *m R *m inv P).
Proof.
move=> uP uB P_B R_B; have turn (Q : 'M[Num]_d) (X : 'M[Num]_(r, d)) :
  \tr (X^T *m X *m Q) = \tr (X *m Q *m X^T) by rewrite -mulmxA mxtrace_mulC.
by rewrite !turn gram_is_invariant.
Qed.

(* T46: rescaling the parameters, a diagonal change: det P is multiplied by a factor
   that does not depend on P, so that the ratio det(P + F) / det P stays. *)
Lemma rescaled_precision d (c : 'rV[Num]_d) (P : 'M[Num]_d) :
  \det ((diag_mx c)^T *m P *m diag_mx c) = (\prod_i c 0 i) ^+ 2 * \det P.
Proof. by rewrite tr_diag_mx !det_mulmx det_diag expr2 mulrAC. Qed.

(* T46: the similarity matrix of D gradients G, which become G N, does change: its
   determinant by det(N N'). *)
Lemma similarity_is_not_invariant d (G N : 'M[Num]_d) :
  \det ((G *m N) *m (G *m N)^T) = \det (G *m G^T) * \det (N *m N^T).
Proof. by rewrite trmx_mul !det_mulmx [\det N^T * _]mulrC mulrACA. Qed.

(* T43: the gradient a f' of a last layer, a its error p - e_y and f the features, has
   the squared length |a|^2 |f|^2: GraNd^2 = EL2N^2 |f|^2. *)
Lemma last_layer_length c d (a : 'cV[Num]_c) (f : 'cV[Num]_d) :
  \tr ((a *m f^T)^T *m (a *m f^T)) = number (a^T *m a) * number (f^T *m f).
Proof.
rewrite trmx_mul trmxK mulmxA -[f *m a^T *m a]mulmxA number_in_front mxtraceZ.
by rewrite mxtrace_mulC [X in \tr X]mx11_scalar mxtrace_scalar.
Qed.

Section Softmax.
Variables (c : nat) (p : 'cV[Num]_c).
Hypothesis sums_to_one : \sum_y p y 0 = 1.

(* The label y as a column, e_y, and the gradient p - e_y in the logits. *)
Definition label y : 'cV[Num]_c := delta_mx y 0.
Definition error y : 'cV[Num]_c := p - label y.
Definition softmax_fisher : 'M[Num]_c := diag_mx p^T - p *m p^T.

(* The mean of the labels is p. *)
Fact mean_label : \sum_y p y 0 *: label y = p.
Proof. by rewrite [RHS]matrix_sum_delta; apply: eq_bigr => y _; rewrite big_ord1. Qed.

(* And the mean of their squares e_y e_y' is diag(p). *)
Fact mean_label_square : \sum_y p y 0 *: (label y *m (label y)^T) = diag_mx p^T.
Proof.
rewrite diag_mx_sum_delta; apply: eq_bigr => y _.
by rewrite mxE /label trmx_delta mul_delta_mx.
Qed.

(* T15: the mean of a softmax's gradient over the model's labels is zero. *)
Lemma mean_error_is_zero : \sum_y p y 0 *: error y = 0.
Proof.
under eq_bigr do rewrite scalerBr.
by rewrite sumrB -scaler_suml sums_to_one scale1r mean_label subrr.
Qed.

(* T31, T15: labels drawn from the model give the Fisher information in the mean. *)
Lemma sampled_labels_are_unbiased :
  \sum_y p y 0 *: (error y *m (error y)^T) = softmax_fisher.
Proof.
have expand y : error y *m (error y)^T
    = error y *m p^T - p *m (label y)^T + label y *m (label y)^T.
  rewrite /error; set e := label y.
  by rewrite linearB /= mulmxBr [_ *m e^T]mulmxBl opprB [e *m _ - _]addrC addrA.
under eq_bigr do rewrite expand scalerDr scalerBr scalemxAl scalemxAr -linearZ.
rewrite big_split sumrB /= -mulmx_suml mean_error_is_zero mul0mx -mulmx_sumr.
by rewrite -linear_sum mean_label mean_label_square sub0r addrC.
Qed.

(* T43: the Fisher information has the trace 1 - |p|^2, the Gini impurity. *)
Lemma trace_of_softmax : \tr softmax_fisher = 1 - number (p^T *m p).
Proof.
rewrite linearB /= mxtrace_diag mxtrace_mulC [X in _ - \tr X]mx11_scalar.
rewrite mxtrace_scalar mulr1n -sums_to_one; congr (_ - _).
by apply: eq_bigr => y _; rewrite mxE.
Qed.

(* T43: which is the mean squared length of the labels' gradients. *)
Lemma mean_squared_error :
  \sum_y p y 0 * number ((error y)^T *m error y) = 1 - number (p^T *m p).
Proof.
rewrite -trace_of_softmax -sampled_labels_are_unbiased raddf_sum /=.
apply: eq_bigr => y _; rewrite mxtraceZ mxtrace_mulC.
by rewrite [X in \tr X]mx11_scalar mxtrace_scalar.
Qed.

(* T31: one label's squared length falls short of the trace by 2 (p_y - |p|^2). *)
Lemma hard_label_bias y :
  \tr softmax_fisher - number ((error y)^T *m error y)
    = (p y 0 - number (p^T *m p)) *+ 2.
Proof.
have pick (v : 'cV_c) : (label y)^T *m v = (v y 0)%:M.
  by rewrite trmx_delta -rowE [row y v]mx11_scalar mxE.
have square : (error y)^T *m error y = p^T *m p - (p y 0)%:M *+ 2 + 1%:M.
  have swap : p^T *m label y = (p y 0)%:M.
    by rewrite -[LHS]trmxK trmx_mul trmxK pick tr_scalar_mx.
  rewrite /error [(p - _)^T]linearB /= mulmxBl !mulmxBr swap !pick /label mxE !eqxx.
  by rewrite opprB mulr2n opprD !addrA addrAC.
rewrite trace_of_softmax square; set n := p^T *m p.
have -> : number (n - (p y 0)%:M *+ 2 + 1%:M) = number n - p y 0 *+ 2 + 1.
  by rewrite /number mulr2n !(mxE, eqxx) -!mulr2n.
rewrite [_ + 1]addrC opprD addrA [1 - _ - 1]addrAC subrr add0r opprB addrCA.
by rewrite -opprD -mulr2n -mulrnBl.
Qed.
End Softmax.
End Lens.
